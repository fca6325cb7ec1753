# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The cache and out/ for people.

    cache sizes     what is in the cache, by kind
    cache prune     remove what this clone does not use and nobody used for DAYS days (14)
    cache clean     remove out/ (OUT); FORCE=1 even if a tree in it has work of yours
"""

import os

from iopf import cache, host, lanes, lock, series
from iopf.errors import Failure, Parser
from iopf.patches import SERIES


def cmd_sizes():
    if host.cache().is_dir() and not host.cache_is_ours():
        raise Failure(f"{host.cache()} was not made by this project; IOPF_CACHE wants the folder "
                      "that the builds had")
    total = 0
    for kind, number, size in cache.sizes():
        print(f"{kind:12} {number:5} {cache.human(size):>10}")
        total += size
    print(f"{'all':12} {'':5} {cache.human(total):>10}  in {host.cache()}")


def days():
    text = os.environ.get("DAYS") or "14"
    if not host.is_number(text):
        raise Failure(f"DAYS={text} is no number of days")
    return int(text)


def cmd_prune():
    limit = days()
    if not host.cache().is_dir():
        print(f"nothing to remove: there is no {host.cache()}")
        return
    gone = cache.prune(lanes.used_products(), limit)
    for path, size in gone:
        print(f"{cache.human(size):>10}  {path.relative_to(host.cache())}")
    total = sum(size for _, size in gone)
    print(f"freed {cache.human(total)} in {host.cache()}: {len(gone)} entries that this clone does "
          f"not use and nobody used for {limit} days")


def refuse_lost_work():
    for each in SERIES.values():
        try:
            work = series.has_work(each.tree)
        except Failure:
            work = True     # unknown: a person decides, by FORCE=1
        if work:
            raise Failure(f"{each.tree} has work that is not exported; 'make export' keeps it, "
                          "'make clean FORCE=1' drops it")


def cmd_clean():
    path = host.out()
    if not path.is_dir():
        print(f"nothing to remove: there is no {path}")
        return
    if not host.out_is_ours() and any(path.iterdir()):
        host.remove_out()       # says why not
    with lock.of_out("removes it"):
        if os.environ.get("FORCE") != "1":
            refuse_lost_work()
        host.remove_out()
    print(f"removed {path}; the cache stays: {host.cache()}")


def main():
    commands = {"sizes": cmd_sizes, "prune": cmd_prune, "clean": cmd_clean}
    parser = Parser(prog="cache", description=__doc__)
    parser.add_argument("command", choices=sorted(commands))
    commands[parser.parse_args().command]()

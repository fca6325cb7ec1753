# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Counts what the series costs, beside the newest stock kernel with the same options.

Both kernels are booted in the machine lanes/bench/machine.lane, on a QEMU that counts
the instructions of its one processor; tools/testing/iopf/bench/README has the rest.
Numbers are printed, none is judged.
"""

import copy
import os
import pathlib
import re
import sys

from iopf import base, build, host, lock, packages, progress, series, stock_kernel
from iopf import bench_records as records
from iopf.cache import digest, publish
from iopf.errors import Failure
from iopf.patches import SERIES
from iopf.process import logged, run
from iopf.testbed import TESTBED, Machine, Report, Run, judge, lanefile

LANE = "bench/machine"
# Rows of the table that have another machine, by how their names begin
NESTED = {"bench/nested": ("inv-", "guest-"), "bench/amd": ("amd-",), "bench/smmu": ("smmu-",)}
# Which the program does not have in the names of its rows
WHOSE = re.compile("^(?:amd|smmu)-")
# Machines that the other kernel is not booted in, and why
OURS_ALONE = {"bench/amd": "only the series has that type",
              "bench/smmu": "it is not built for arm64"}
# The row that shows whether instructions are counted, in each machine
KNOWN = "known-2002"
NOT_ASKED = "not asked for"     # as the program says
KERNEL = "x86"          # whose options both have
FOLDER = TESTBED / "bench"
# Parts of the test of guests that the program is built with
VENDORS = ("amd", "guest", "smmu", "vtd", "x86")
PROGRAM = "usr/libexec/iopf/bench"
STEP = "bench"
# Options that are felt everywhere in a kernel, and whose defaults change
FELT = re.compile(r"^CONFIG_((?:PREEMPT|HZ|DEBUG|INIT_ON|INIT_STACK|HARDENED|SLAB|STACKPROT|"
                  r"MITIGATION|RANDOMIZE|FAULT_INJ|FAILSLAB)\w*)=(.*)$", re.M)


def make_tools(qemu, arch, dest):
    """The plugin and the guest's program."""
    log = host.log(f"bench-tools-{arch}.log")
    with build.build_folder(host.out() / f"build/bench-{arch}", keep=False) as work:
        env, source = build.build_env(), series.built_tree("linux")
        flags = run(["pkg-config", "--cflags", "glib-2.0"]).split()
        logged(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-isystem", qemu, *flags,
                "-o", dest / "count.so", FOLDER / "count.c"], log, env=env, what="plugin")
        headers = f"-isystem {build.install_headers(source, arch, work, log)}"
        iommu = source / "tools/iommu"
        cross = build.compiler(arch)
        logged(["make", "-C", iommu, f"-j{host.jobs()}", f"O={work}/iommu", f"CC={cross}gcc",
                "LDFLAGS=-static", f"KHDR_INCLUDES={headers}", f"{work}/iommu/libiopf.a",
                f"{work}/iommu/testdev.o"], log, env=env, what="libiopf")
        tests = source / "tools/testing/selftests/iommu"
        logged([f"{cross}gcc", "-static", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE",
                *headers.split(), f"-I{iommu}", f"-I{tests}", "-o", dest / "bench",
                FOLDER / "bench.c", tests / "iopf_endpoint.c",
                *[tests / f"iopf_viommu_{part}.c" for part in VENDORS],
                f"{work}/iommu/testdev.o",
                f"{work}/iommu/libiopf.a"], log, env=env, what="the program that is measured")


def tools_place(qemu, arch):
    repo = base.repository("linux")
    content = SERIES["linux"].key(base.version(repo, "linux"), ["drivers/", "mm/", "samples/"])
    key = digest("bench-3", qemu.name, arch, base.tree_id(repo), content,
                 *build.toolchain(build.compiler(arch)), *build.toolchain(),
                 *packages.own_versions(["libc6-dev", "libglib2.0-dev", *packages.CROSS[arch]]),
                 *sorted(FOLDER.glob("*.[ch]")))
    return host.cache() / "bench" / key


def tools_path(qemu, arch):
    return publish(lambda tmp: make_tools(qemu, arch, tmp), tools_place(qemu, arch))


def kernel_of(lane):
    """The kernel of a machine, whose options the other kernel gets."""
    return lanefile.load(lane).kernel


def kept():
    """What this takes from the cache, as far as it can be told without fetching anything."""
    kernels = {kernel_of(lane).arch: kernel_of(lane) for lane in (LANE, *NESTED)}
    qemu, stock = build.qemu_place(build.PLUGIN_QEMU), stock_kernel.cached()
    return [qemu, *(tools_place(qemu, arch) for arch in kernels)] + (
        [stock, stock_kernel.place(lanefile.load_kernel(KERNEL), stock)] if stock else [])


def products(lanes):
    """Folders of what some machines need: qemu, theirs, and {arch: {ours, guest, tools}}."""
    kernels = {kernel_of(lane).arch: kernel_of(lane) for lane in lanes}
    theirs = not OURS_ALONE.keys() >= set(lanes)
    steps, made = progress.Progress(3 + theirs + 3 * len(kernels)), {}
    with lock.of_out("builds"):
        steps.step("packages", packages.install, packages.BUILD)
        steps.step("base trees", lambda: [base.repository(n) for n in ("linux", "qemu")])
        made["qemu"] = steps.step("QEMU that takes plugins", build.qemu_path, build.PLUGIN_QEMU)
        for arch, kernel in kernels.items():
            made[arch] = {
                "guest": steps.step(f"guest programs {arch}", build.guest_path, arch),
                "ours": steps.step(f"kernel {kernel.name}", build.kernel_path, kernel),
                "tools": steps.step(f"plugin and program {arch}", tools_path, made["qemu"],
                                    arch)}
        if theirs:
            made[KERNEL]["theirs"] = steps.step("newest stock kernel", stock_kernel.path,
                                                lanefile.load_kernel(KERNEL))
    steps.table()
    return made


def machine_lane(tools, log, name=LANE, rows=()):
    """A machine that counts these rows, or all that the program has."""
    lane = copy.copy(lanefile.load(name))
    if rows:
        lane.plan = [f"{step} {' '.join([*rows, KNOWN])}" if f"/{PROGRAM}" in step else step
                     for step in lane.plan]
    events = records.TRACE_EVENTS[kernel_of(name).arch]
    lane.options = [*lane.options, f"-plugin file={tools}/count.so", f"-D {log}",
                    "-d " + ",".join(["plugin", *(f"trace:{e}" for e in events)])]
    return lane


def names_of(report):
    """{number: name} of the rows that the guest has measured, and what it says of others."""
    names, others = {}, {}
    for result in report.results:
        for child in result.children if result.name == STEP else ():
            if child.skipped and child.note == NOT_ASKED:
                continue
            if child.skipped or not child.ok:
                others[child.name] = child.note
            else:
                names[child.number] = child.name
    return names, others


def boot(made, side, folder, name, rows):
    """Boot one kernel; returns {row: [Round]} and {row: why it was left out}."""
    kernel = kernel_of(name)
    own = made[kernel.arch]
    lane = machine_lane(own["tools"], os.path.join(folder, "count.log"), name, rows)
    machine = Machine(lane, folder, str(own[side] / os.path.basename(kernel.image)),
                      str(made["qemu"] / kernel.qemu), [str(p) for p in host.firmware()])
    program = (own["tools"] / "bench").read_bytes()
    machine.make_initrd([own["guest"] / "initramfs"], lane.plan, {PROGRAM: program})
    report = Report()
    machine.run(lambda line: report.feed(line) and None, lambda: None)
    report.finish()
    names, others = names_of(report)
    # a row that a kernel cannot do is skipped, and no failure
    failures = [f for f in judge(machine, report) if f.kind != "skip"]
    if failures:
        raise Failure(f"{side}: {failures[0].kind}: {failures[0].text}, log {failures[0].log}")
    with open(os.path.join(folder, "count.log"), encoding="utf-8", errors="replace") as log:
        samples = records.summary(log, names)
    wrong = records.wrong(samples)
    if wrong:
        raise Failure(f"{side}: {wrong}, log {log.name}")
    return samples, others


def felt(built):
    return dict(FELT.findall((built / "config").read_text(encoding="utf-8")))


def releases(made):
    """{side: what its kernel is}"""
    return {side: stock_kernel.release(own[side]) for own in made.values() if isinstance(own, dict)
            for side in ("ours", "theirs") if side in own}


def footnotes(made, left_out):
    x86 = made.get(KERNEL, {})
    release = releases(made)
    theirs = (f"; theirs: Linux {release['theirs']}, Debian's source; both with the options of "
              f"the kernel {KERNEL}" if "theirs" in release else "")
    lines = [f"ours: Linux {release['ours']} with the series{theirs}",
             "guest instructions of the lowest round; no seconds, and no cost of cache misses "
             "in them"]
    if "theirs" in x86:
        ours, theirs = felt(x86["ours"]), felt(x86["theirs"])
        differ = [f"{name} {ours.get(name, 'n')} / {theirs.get(name, 'n')}"
                  for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
        if differ:
            lines.append(f"options of the two that differ (ours / theirs): {', '.join(differ)}")
    for side, others in left_out.items():
        for why in dict.fromkeys(others.values()):
            names = [name for name, what in others.items() if what == why]
            lines.append(f"{side}, {' '.join(names)}: {why}")
    return lines


def machines(rows):
    """{lane: {what the program in it calls a row: what the table calls it}}"""
    made = {}
    for row in rows:
        lane = next((lane for lane, begins in NESTED.items() if row.startswith(begins)), LANE)
        made.setdefault(lane, {})[WHOSE.sub("", row)] = row
    return made


def count(made, side, logs, rows):
    """Boot one kernel in all machines that the rows take; returns as boot() does."""
    samples, left_out = {}, {}
    for lane, names in machines(rows).items():
        if lane in OURS_ALONE and side != "ours":
            left_out.update(dict.fromkeys(names.values(), OURS_ALONE[lane]))
            continue
        folder = logs.path(f"{side}-{lane.rpartition('/')[2]}")
        for total, found in zip((samples, left_out), boot(made, side, folder, lane, names)):
            total.update({names.get(name, name): what for name, what in found.items()})
    return samples, left_out


def measure(result, only=None):
    """The rows that the globs in `only` name, without it all; the table goes to the standard
    output, all rounds to the file `result`."""
    if os.environ.get("KVM") == "1":
        raise Failure("instructions are counted of an emulated processor; leave KVM=1 out")
    rows = records.wanted((only or "").split())
    if not rows:
        raise Failure(f"ONLY={only} names no row; there are {' '.join(records.wanted([]))}")
    made = products(machines(rows))
    logs = Run(str(host.claim_out() / "log" / "bench"))
    sides, left_out, release = {}, {}, releases(made)
    for side in ("ours", "theirs"):
        if side in release:
            progress.say(f"counting in {side}, Linux {release[side]} ...")
        samples, left_out[side] = count(made, side, logs, rows)
        sides[side] = (release.get(side), samples)
    figures = records.figures(sides["ours"][1], sides["theirs"][1], rows)
    lines = ["", *records.table(figures), ""]
    if "pinned-gib" in rows:
        shares = [f"{side} {records.start_share(found)}" for side, (_, found) in sides.items()]
        lines.append(f"on demand / pinned, 4 KiB pages: {', '.join(shares)}")
    print("\n".join([*lines, *footnotes(made, left_out)]))
    result = pathlib.Path(result or host.out() / "bench.json")
    result.write_text(records.as_json(figures, sides), encoding="utf-8")
    print(f"all rounds: {result}; logs: {logs.folder}")
    sys.stdout.flush()
    return 0

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""How long each kind of step took the last time, as a small file in the cache."""

import json
import os

from iopf import host


def path():
    return host.cache() / "times.json"


def load():
    """{label: {"seconds": n, "lines": n}}; a damaged file is no reason to stop."""
    try:
        data = json.loads(path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = {}
    for label, entry in (data.items() if isinstance(data, dict) else ()):
        if isinstance(entry, dict) and all(
                isinstance(entry.get(key), int) and entry[key] >= 0
                for key in ("seconds", "lines")):
            good[label] = entry
    return good


def record(label, seconds, lines):
    """Two writers at once lose one figure of one step, which does no harm."""
    data = load()
    data[label] = {"seconds": int(seconds), "lines": int(lines)}
    try:
        file = host.claim_cache() / f".times.{os.getpid()}"
        file.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        file.replace(path())
    except OSError:
        pass        # the figures are a convenience

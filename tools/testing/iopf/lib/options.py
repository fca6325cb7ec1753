# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Options that are given once for each kernel or architecture, as KEY=VALUE."""

from typing import Optional

from lanefile import TestbedError


def lookup(options: list[str], key: str) -> Optional[str]:
    """The value of KEY=VALUE, if there is one."""
    for option in options:
        name, equals, value = option.partition("=")
        if equals and name == key:
            return value
    return None


def pick(options: list[str], key: str, what: str) -> str:
    """The value of KEY=VALUE, or of a VALUE that is for every key."""
    value = lookup(options, key)
    if value is not None:
        return value
    general = [option for option in options if "=" not in option]
    if not general:
        raise TestbedError(f"no {what} for {key}: give --{what} {key}=PATH")
    return general[-1]

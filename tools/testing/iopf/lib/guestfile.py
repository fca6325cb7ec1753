# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""A user's own files in a machine, and what a user of its shell can type."""

import os
import struct
from typing import Optional

from lanefile import Lane, TestbedError

HOME = "root"
MACHINES = {"x86": 62, "arm64": 183}    # EM_X86_64, EM_AARCH64
_PT_INTERP = 3


def place(option: str) -> tuple[str, str]:
    """Where the file of --file goes, and where it comes from."""
    path, equals, source = option.partition("=")
    if not equals:
        path, source = f"{HOME}/{os.path.basename(option)}", option
    if not path.strip("/") or not source:
        raise TestbedError(f"--file {option}: give SOURCE or PATH=SOURCE")
    return path.strip("/"), source


def loader(data: bytes) -> Optional[str]:
    """The dynamic loader that a program asks for; ValueError if it is damaged."""
    try:
        (table,) = struct.unpack_from("<Q", data, 0x20)
        size, count = struct.unpack_from("<HH", data, 0x36)
        for number in range(count):
            at = table + number * size
            if struct.unpack_from("<I", data, at)[0] == _PT_INTERP:
                start, = struct.unpack_from("<Q", data, at + 8)
                length, = struct.unpack_from("<Q", data, at + 0x20)
                return data[start:start + length].rstrip(b"\0").decode("utf-8", "replace")
    except struct.error as error:
        raise ValueError("cut short") from error
    return None


def check_program(path: str, data: bytes, arch: str, others: set[str]) -> None:
    """TestbedError if it is a program that cannot run there."""
    if not data.startswith(b"\x7fELF"):
        return
    try:
        if data[4:6] != b"\x02\x01" or struct.unpack_from("<H", data, 18)[0] != MACHINES[arch]:
            raise TestbedError(f"{path} is no program for {arch}, which this lane's machine is")
        wanted = loader(data)
    except (ValueError, struct.error) as error:
        raise TestbedError(f"{path}: damaged program: {error}") from error
    if wanted and wanted.strip("/") not in others:
        raise TestbedError(f"{path} is linked dynamically and the machine has no {wanted}; "
                           "link it with -static, or add the loader and its libraries "
                           "with --file too")


def read(options: list[str], arch: str) -> dict[str, bytes]:
    """The files that were asked for, by their path in the machine."""
    placed = dict(place(option) for option in options)
    files = {}
    for path, source in placed.items():
        try:
            with open(source, "rb") as file:
                files[path] = file.read()
        except OSError as error:
            raise TestbedError(f"--file {source}: {error.strerror}") from error
    for path, data in files.items():
        check_program(placed[path], data, arch, set(files))
    return files


def what_to_type(lane: Lane, options: list[str]) -> list[str]:
    """Commands for a person who has just got a shell."""
    endpoint = "0000:01:00.0"
    lines = [f"/{place(option)[0]}" for option in options]
    if any("vfio-pci" in step for step in lane.plan):
        lines += [f"iopf probe {endpoint}", f"iopf demo {endpoint}"]
    programs = dict.fromkeys(word for step in lane.plan for word in step.split()
                             if word.startswith("/usr/libexec/iopf/"))
    lines += [f"{program}" for program in programs]
    lines += ["ls /usr/libexec/iopf /bin", "dmesg | tail"]
    return lines

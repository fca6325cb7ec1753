# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Whether machines that use nothing of the QEMU series migrate as they did without it.

QEMU prints what each type of device puts into a migration stream, and brings a
program that compares two such lists. The other one is that of Debian's own binary
of the same release: it needs no build, and is started through its own C library.
"""

import json
import pathlib
import platform
import re
import subprocess
import sys
import typing

from iopf import base, build, cache, fresh, host, process, series
from iopf.errors import Failure
from iopf.patches import version_number
from iopf.process import run
from iopf.testbed import Count


class Emulator(typing.NamedTuple):
    """A QEMU, Debian's package of it, and a machine of it that Debian's knows, too."""

    program: str
    package: str
    machine: str
    touched: frozenset      # without these the comparison is about nothing

    @property
    def kind(self):
        return f"vmstate-{self.program.rpartition('-')[2]}"


EMULATORS = (
    Emulator("qemu-system-x86_64", "qemu-system-x86", "q35", frozenset({
        "intel-iommu", "pcie-root-port", "mch", "virtio-iommu-device", "nvme"})),
    Emulator("qemu-system-aarch64", "qemu-system-arm", "virt", frozenset({
        "arm-smmuv3", "pcie-root-port", "gpex-root", "virtio-iommu-device", "nvme"})),
)
MACHINE = "vmschkmachine"       # which list it is, among the devices
# What the series adds for devices that use it, and leaves out of the stream otherwise
OPTIONAL = {"PCIDevice/pri", "smmuv3/ats", "smmuv3/priq", "smmuv3/stall"}


def release(version):
    """Stable updates of one release take each other's streams."""
    return version_number(re.sub(r"^\d+:", "", version))[:2]


def dump(program, machine, file):
    run([*program, "-M", machine, "-nodefaults", "-display", "none", "-dump-vmstate", file])
    return json.loads(file.read_text(encoding="utf-8"))


def unpacked(root, name):
    """How to start the program of another Debian release that is unpacked there."""
    loader = next((p for p in sorted(root.rglob("ld-linux-x86-64.so.2")) if p.is_file()), None)
    found = sorted(root.glob(f"usr/bin/{name}"))
    if not loader or not found:
        raise Failure(f"the package of {name} has another layout than is known here")
    folders = sorted({str(p.parent) for p in root.rglob("lib*.so.*")})
    return [loader, "--library-path", ":".join(folders), found[0], "-L", root / "usr/share/qemu"]


def fetch(emulator, wanted):
    """The list of Debian's binary, as a product: of the binary nothing is kept."""
    with cache.workspace() as work:
        work = pathlib.Path(work)
        apt = base.PrivateApt(work, base.QEMU_SUITE)
        package = emulator.package
        versions = [v for v in base.apt_versions(package, apt.options)
                    if release(v) == release(wanted)]
        if not versions:
            raise fresh.Skip(f"{base.QEMU_SUITE} has no {package} of the release {wanted}")
        (work / "status").touch()

        def make(dest):
            apt.get("-o", f"Dir::State::status={work}/status", "-o",
                    "APT::Keep-Downloaded-Packages=true", "install", "--download-only",
                    "--no-install-recommends", "-y", f"{package}={versions[0]}")
            for deb in sorted((work / "archives").glob("*.deb")):
                run(["dpkg-deb", "-x", deb, work / "root"])
            dump(unpacked(work / "root", emulator.program), emulator.machine,
                 dest / "vmstate.json")

        return cache.publish(make, host.cache() / emulator.kind /
                             versions[0].replace(":", "_"))[0]


def stock(emulator, wanted):
    """The list of a QEMU without the series, of that release."""
    found = [p for p in sorted((host.claim_cache() / emulator.kind).glob("*"))
             if release(p.name.replace("_", ":")) == release(wanted) and cache.intact(p)]
    if found:
        return cache.taken(found[-1])[0]
    if host.offline():
        raise fresh.Skip("OFFLINE=1, and Debian's own QEMU was not fetched before")
    if not base.machine_archive():
        raise fresh.Skip("there is no Debian archive in this machine's apt sources")
    return fetch(emulator, wanted)


def without_optional(item):
    """A list without what is not in the stream of a device that does not use it."""
    if isinstance(item, list):
        return [without_optional(one) for one in item]
    if not isinstance(item, dict):
        return item
    kept = {key: without_optional(value) for key, value in item.items()}
    if "Subsections" in kept:
        kept["Subsections"] = [s for s in kept["Subsections"] if s["name"] not in OPTIONAL]
        if not kept["Subsections"]:
            del kept["Subsections"]
    return kept


def differences(checker, old, new, work):
    """What QEMU's program says of a stream from one to the other, either way."""
    said = []
    for name, (source, target) in {"to the series": (old, new),
                                   "from the series": (without_optional(new), old)}.items():
        (work / "src.json").write_text(json.dumps(source), encoding="utf-8")
        (work / "dest.json").write_text(json.dumps(target), encoding="utf-8")
        # its status is the number of differences, or that of a traceback
        with process.child([sys.executable, checker, "-s", work / "src.json", "-d",
                            work / "dest.json"], None, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, encoding="utf-8") as proc:
            text = proc.communicate()[0]
        if proc.returncode and not text.strip():
            text = f"exit status {proc.returncode}"
        said += [f"{name}: {line}" for line in text.splitlines() if line.strip()]
    return said


def machines(program):
    """All versions of all machines; aliases are the same ones."""
    lines = run([*program, "-M", "help"]).splitlines()[1:]
    return [line.split()[0] for line in lines
            if line.strip() and "(alias of" not in line and line.split()[0] != "none"]


def check(log):
    if platform.machine() != "x86_64":
        raise fresh.Skip("Debian's QEMU that can be had for this runs on amd64 only")
    log.write_text("", encoding="utf-8")
    count = Count()
    for emulator in EMULATORS:
        count.passed += check_emulator(emulator, log)
    return count


def check_emulator(emulator, log):
    """Compare each of its machines; returns how many there are."""
    source = series.built_tree("qemu")
    wanted = (source / "VERSION").read_text(encoding="utf-8").strip()
    old_place = stock(emulator, wanted)
    old = json.loads((old_place / "vmstate.json").read_text(encoding="utf-8"))
    old.pop(MACHINE)
    program = [build.qemu_path()[0] / emulator.program]
    with open(log, "a", encoding="utf-8") as out:
        out.write(f"{emulator.program} {wanted} with the series against Debian's "
                  f"{old_place.name}\n")
    names, seen = machines(program), []
    with cache.workspace() as work:
        work = pathlib.Path(work)
        for machine in names:
            new = dump(program, machine, work / "vmstate.json")
            new.pop(MACHINE)
            if new not in seen:
                seen.append(new)
                compare(source / "scripts/vmstate-static-checker.py", emulator, (old, new),
                        work, log)
    if not names:
        raise Failure(f"{emulator.program} has no machine", 1)
    return len(names)


def compare(checker, emulator, lists, work, log):
    """The lists are that of the QEMU without the series, and that of ours."""
    old, new = lists
    common = old.keys() & new.keys()
    if not emulator.touched <= common:
        raise Failure(f"{sorted(emulator.touched - common)[0]} is in only one of the two QEMUs", 1)
    said = differences(checker, {k: old[k] for k in common}, {k: new[k] for k in common}, work)
    with open(log, "a", encoding="utf-8") as out:
        out.write(f"{len(common)} types of devices compared\n" + "".join(
            f"{line}\n" for line in said))
    if said:
        raise Failure(said[0], 1)

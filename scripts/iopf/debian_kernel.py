# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Debian's own kernels, as they come: image, modules, and what builds a module.

They are the kernels that people run, and need no build. `6.12` is the newest of
that series, `newest` the newest of all that are younger. For an external module
there are the packages of the kernel's headers, which want the compiler and the C
library of their own release: those are unpacked beside them and called through
their own loader, so any machine can use them and none is changed.

What path() returns is a folder with

    vmlinuz config          of the kernel
    lib/modules/RELEASE     as in its packages
    build                   for make -C, with the programs of TOOLS first in PATH
"""

import os
import pathlib
import re
import shutil
import stat

from iopf import base, cache, host
from iopf.cache import publish
from iopf.errors import Failure
from iopf.process import run

META = "linux-image-amd64"
# A stable release with its additions has both kernels; then what is newer, down
# to what changes every day
SUITES = ("trixie trixie-backports", "forky", "sid")
# Releases before it have one each. These are booted only: nothing is built for them
OLD_SUITES = {"5.10": ("bullseye",), "6.1": ("bookworm",)}
SERIES = "6.12"
TOOLS = "sdk/usr/bin"
LOADER = "ld-linux-x86-64.so.2"
# Of the compiler: no sanitizers, profilers, link time optimizer; no texts
UNUSED_PACKAGES = re.compile(r"^(lib(asan|tsan|lsan|ubsan|hwasan|itm|atomic|gomp|quadmath"
                             r"|gprofng)|openssl-provider)")
UNUSED_FILES = ("sdk/usr/share", "sdk/etc", "sdk/var", "sdk/usr/bin/*lto-dump*",
                "sdk/usr/libexec/gcc/*/*/lto1", "sdk/usr/lib/gcc/*/*/*.a",
                "sdk/usr/lib/*/*.a")


class Unavailable(Failure):
    """There is no such kernel here. That is no broken machine: its lanes are skipped."""


def is_wanted(version, wanted):
    """Whether the version of a package is of the series 6.12, or newer than it."""
    parts = [int(n) for n in re.findall(r"\d+", version)[:2]]
    series = [int(n) for n in SERIES.split(".")]
    return parts > series if wanted == "newest" else parts == [
        int(n) for n in wanted.split(".")]


def depends(apt, package, version):
    """Names of the packages that a package's version depends on, alternatives too."""
    shown = run(["apt-cache", *apt.options, "show", f"{package}={version}"])
    line = re.search(r"^Depends: (.*)$", shown, re.M)
    return re.findall(r"(?:^|[,|] *)([\w.+-]+)", line[1]) if line else []


def closure(apt, package, version, pattern):
    """A package and those below it whose names fit, the kernel's own parts."""
    found, todo = [], [package]
    while todo:
        name = todo.pop()
        if name not in found:
            found.append(name)
            todo += [n for n in depends(apt, name, version) if re.match(pattern, n)]
    return found


def images(apt, version):
    """The packages of a version's image and modules."""
    real = [n for n in depends(apt, META, version) if re.match(r"linux-image-\d", n)]
    if not real:
        raise Failure(f"{META} {version} names no linux-image package")
    return closure(apt, real[0], version, r"linux-(image|binary|modules)-\d")


def headers(apt, image, version):
    """The packages to build a module with, and those that bring their programs."""
    package = image.replace("-image-", "-headers-")
    below = depends(apt, package, version)
    compiler = [m[1] for m in (re.match(r"(gcc-\d+)(-for-host)?$", n) for n in below) if m]
    kbuild = [n for n in below if n.startswith("linux-kbuild-")]
    if not compiler or not kbuild:
        raise Failure(f"{package} names no compiler or no linux-kbuild package")
    common = [n for n in below if re.match(r"linux-headers-.*-common$", n)]
    return [package, *common], [kbuild[0], compiler[0], f"{compiler[0]}-x86-64-linux-gnu"]


def unpack(folder, dest):
    for deb in sorted(pathlib.Path(folder).glob("*.deb")):
        if not UNUSED_PACKAGES.match(deb.name):
            run(["dpkg-deb", "-x", deb, dest])


def is_program(path):
    """A dynamically linked ELF program, that no other C library can start."""
    if path.is_symlink() or not path.is_file() or not os.access(path, os.X_OK):
        return False
    with open(path, "rb") as file:
        head = file.read(4096)
    return head[:4] == b"\x7fELF" and LOADER.encode() in head


def wrap(program, root, loader):
    """Put a script in a program's place that calls it through its own loader.

    Paths are relative to the script: the folder may be moved.
    """
    hidden = program.with_name(f".{program.name}.elf")
    program.rename(hidden)
    up = os.path.relpath(root, program.parent)
    libraries = ":".join(f"$at/{up}/{path.relative_to(root)}" for path in sorted(
        {p.parent for p in root.rglob("lib*.so.*")} - {root}) if "gcc" not in path.parts)
    program.write_text(
        f'#!/bin/sh\nat=${{0%/*}}\nexec "$at/{up}/{loader.relative_to(root)}" '
        f'--library-path "{libraries}" --argv0 "$0" "$at/{hidden.name}" "$@"\n')
    program.chmod(hidden.stat().st_mode & ~(stat.S_ISUID | stat.S_ISGID))


def relocate(build):
    """The headers' Makefile names folders of an installed system: make it relative."""
    makefile = build / "Makefile"
    here = "$(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))/../"
    makefile.write_text(makefile.read_text().replace("/usr/src/", here))


def assemble(work, dest):
    """Make the folder out of the unpacked packages."""
    unpack(work / "image", dest / "image")
    trees = [p for p in (dest / "image").glob("**/lib/modules/*") if p.is_dir()]
    kernels = [*(dest / "image").glob("boot/vmlinuz-*"),
               *(dest / "image").glob("**/lib/modules/*/vmlinuz")]
    if len(trees) != 1 or not kernels:
        raise Failure("the kernel's packages have another layout than is known here")
    shutil.move(kernels[0], dest / "vmlinuz")
    (dest / "lib/modules").mkdir(parents=True)
    shutil.move(trees[0], dest / "lib/modules" / trees[0].name)
    configs = [*(dest / "image").glob("boot/config-*")]
    if configs:
        shutil.copy(configs[0], dest / "config")
    shutil.rmtree(dest / "image")
    if (work / "headers").exists():
        assemble_sdk(work, dest, trees[0].name)


def assemble_sdk(work, dest, release):
    """The headers, and what a module is built with."""
    sdk = dest / "sdk"
    unpack(work / "headers", sdk)
    unpack(work / "tools", sdk)
    for pattern in UNUSED_FILES:
        for path in dest.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    build = sdk / "usr/src" / f"linux-headers-{release}"
    (dest / "build").symlink_to(build.relative_to(dest))
    shutil.copy(build / ".config", dest / "config")
    relocate(build)
    loader = next((p for p in sorted(sdk.rglob(LOADER)) if p.is_file()), None)
    if not loader:
        raise Failure("no C library among the packages that the headers need")
    # the file itself: a link may lead out of this folder
    loader = pathlib.Path(os.path.realpath(loader))
    for path in [p for p in sorted(sdk.rglob("*")) if p != loader and is_program(p)]:
        wrap(path, sdk, loader)


def download(apt, version, work, old):
    """Fetch all packages into folders of their own below `work`."""
    image = images(apt, version)
    own, tools = ([], []) if old else headers(apt, image[0], version)
    for folder, names in (("image", image), ("headers", own)):
        if not names:
            return
        (work / folder).mkdir()
        run(["apt-get", *apt.options, "download", *[f"{n}={version}" for n in names]],
            cwd=work / folder)
    # with an empty list of installed packages, so that all they need is fetched
    nothing = work / "status"
    nothing.touch()
    apt.get("-o", f"Dir::State::status={nothing}", "-o", "APT::Keep-Downloaded-Packages=true",
            "install", "--download-only", "--no-install-recommends", "-y", *tools)
    (work / "archives").rename(work / "tools")


def fetch(wanted):
    """From the first suites that have such a kernel."""
    if not shutil.which("apt-get") or not base.machine_archive():
        raise Unavailable("there is no Debian archive in this machine's apt sources")
    missing = []
    host.claim_cache()
    for suites in OLD_SUITES.get(wanted, SUITES):
        with cache.workspace() as work:
            try:
                apt = base.PrivateApt(work, suites)
                version = next((v for v in base.apt_versions(META, apt.options)
                                if is_wanted(v, wanted)), None)
                final = host.cache() / "debian-kernel" / f"{wanted}-{version}"
                if version and not cache.intact(final):
                    download(apt, version, pathlib.Path(work), wanted in OLD_SUITES)
            except Failure as failure:
                if "No space left" in str(failure):
                    raise
                missing.append(f"{suites}: {failure}")
                continue
            if version:
                # from here on a failure does not mean that there is no package
                return publish(lambda tmp, work=work: assemble(pathlib.Path(work), tmp), final)
            missing.append(f"none in {suites}")
    raise Unavailable(f"no Debian kernel '{wanted}': {'; '.join(missing)}")


def cached(wanted):
    found = [p for p in (host.cache() / "debian-kernel").glob(f"{wanted}-*")
             if cache.intact(p)]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


def path(wanted):
    """The folder of a kernel and how it was come by; Unavailable if there is none."""
    found = cached(wanted)
    if found and (host.offline() or os.environ.get("UPDATE") != "1"):
        return cache.taken(found)
    if host.offline():
        raise Unavailable(f"OFFLINE=1, and no Debian kernel '{wanted}' in {host.cache()}")
    try:
        return fetch(wanted)
    except Unavailable:
        if found:
            return cache.taken(found)
        raise


def module_env(built, env):
    """The environment to build a module in: the kernel's own compiler comes first."""
    return {**env, "PATH": f"{built / TOOLS}:{env['PATH']}"}

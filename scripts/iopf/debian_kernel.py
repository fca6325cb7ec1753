# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Debian's own kernels, as they come: image, modules, and what builds a module.

They are the kernels that people run, and need no build. `6.12` is the newest of
that series, `newest` the newest of all that are younger; for each architecture of
ours, whatever that of this machine is. For an external module there are the packages
of the kernel's headers, which want a compiler for the kernel's architecture and the
C library of their own release: those are unpacked beside them and called through
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

# By our names: Debian's name of an architecture, that of its tools, its loader
DEBIAN_ARCH = {"x86": "amd64", "arm64": "arm64"}
TRIPLET = {"x86": "x86-64-linux-gnu", "arm64": "aarch64-linux-gnu"}
LOADERS = {"x86": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}
# A stable release with its additions has both kernels; then what is newer, down
# to what changes every day
SUITES = ("trixie trixie-backports", "forky", "sid")
# Releases before it have one each. These are booted only: nothing is built for them
OLD_SUITES = {"5.10": ("bullseye",), "6.1": ("bookworm",)}
SERIES = "6.12"
TOOLS = "sdk/usr/bin"
# Of the compiler: no sanitizers, profilers, link time optimizer; no texts; nothing that
# the programs of another architecture are linked with
UNUSED_PACKAGES = re.compile(r"^(lib(asan|tsan|lsan|ubsan|hwasan|itm|atomic|gomp|quadmath"
                             r"|gprofng)|openssl-provider|lib(c6|gcc-s1|stdc\+\+6)-\w+-cross)")
UNUSED_FILES = ("sdk/usr/share", "sdk/etc", "sdk/var", "sdk/usr/bin/*lto-dump*",
                "sdk/usr/libexec/gcc*/*/*/lto1", "sdk/usr/lib/gcc*/*/*/*.a",
                "sdk/usr/lib/*/*.a")


class Unavailable(Failure):
    """There is no such kernel here. That is no broken machine: its lanes are skipped."""


def is_wanted(version, wanted):
    """Whether the version of a package is of the series 6.12, or newer than it."""
    parts = [int(n) for n in re.findall(r"\d+", version)[:2]]
    series = [int(n) for n in SERIES.split(".")]
    return parts > series if wanted == "newest" else parts == [
        int(n) for n in wanted.split(".")]


class Index:
    """What the package index of some suites has of an architecture's kernels."""

    def __init__(self, apt, arch):
        self.apt, self.arch = apt, arch
        self.meta = self.of_arch(f"linux-image-{DEBIAN_ARCH[arch]}")

    def of_arch(self, package):
        """A package of the kernel's architecture as apt wants it named."""
        foreign = self.arch != host.machine()
        return f"{package}:{DEBIAN_ARCH[self.arch]}" if foreign else package

    def newest(self, wanted):
        """The newest version that fits, or None."""
        return next((v for v in base.apt_versions(self.meta, self.apt.options)
                     if is_wanted(v, wanted)), None)

    def depends(self, package, version):
        """Names of the packages that a version depends on, alternatives too."""
        shown = run(["apt-cache", *self.apt.options, "show", f"{package}={version}"])
        line = re.search(r"^Depends: (.*)$", shown, re.M)
        return re.findall(r"(?:^|[,|] *)([\w.+-]+)", line[1]) if line else []

    def closure(self, package, version, pattern):
        """A package and those below it whose names fit, the kernel's own parts."""
        found, todo = [], [package]
        while todo:
            name = todo.pop()
            if name not in found:
                found.append(name)
                todo += [n for n in self.depends(self.of_arch(name), version)
                         if re.match(pattern, n)]
        return found

    def images(self, version):
        """The packages of a version's image and modules."""
        real = [n for n in self.depends(self.meta, version) if re.match(r"linux-image-\d", n)]
        if not real:
            raise Failure(f"{self.meta} {version} names no linux-image package")
        return self.closure(real[0], version, r"linux-(image|binary|modules)-\d")

    def headers(self, image, version):
        """The packages to build a module with, and those that bring their programs,
        which are of this machine's architecture."""
        package = self.of_arch(image.replace("-image-", "-headers-"))
        below = self.depends(package, version)
        gcc = [m[1] for m in (re.match(r"(gcc-\d+)(-for-host)?$", n) for n in below) if m]
        kbuild = [n for n in below if n.startswith("linux-kbuild-")]
        if not gcc or not kbuild:
            raise Failure(f"{package} names no compiler or no linux-kbuild package")
        common = [n for n in below if re.match(r"linux-headers-.*-common$", n)]
        tools = [kbuild[0], f"{gcc[0]}-{TRIPLET[self.arch]}"]
        # the compiler's own name is that of links to the one for this machine
        return [package, *common], tools + gcc[:1] * (self.arch == host.machine())


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
    return head[:4] == b"\x7fELF" and LOADERS[host.machine()].encode() in head


def wrap(program, root, loader):
    """Put a script in a program's place that calls it through its own loader.

    Paths are relative to the script: the folder may be moved.
    """
    hidden = program.with_name(f".{program.name}.elf")
    program.rename(hidden)
    up = os.path.relpath(root, program.parent)
    libraries = ":".join(f"$at/{up}/{path.relative_to(root)}" for path in sorted(
        {p.parent for p in root.rglob("lib*.so.*")} - {root}) if not {"gcc", "gcc-cross"} & set(path.parts))
    program.write_text(
        # gcc finds the cross binutils by links from another folder
        '#!/bin/sh\nat=$0\n[ ! -L "$0" ] || at=$(readlink -f "$0")\nat=${at%/*}\n'
        f'exec "$at/{up}/{loader.relative_to(root)}" '
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
    loader = next((p for p in sorted(sdk.rglob(LOADERS[host.machine()])) if p.is_file()), None)
    if not loader:
        raise Failure("no C library among the packages that the headers need")
    # the file itself: a link may lead out of this folder
    loader = pathlib.Path(os.path.realpath(loader))
    for path in [p for p in sorted(sdk.rglob("*")) if p != loader and is_program(p)]:
        wrap(path, sdk, loader)


def download(index, version, work, old):
    """Fetch all packages into folders of their own below `work`."""
    apt, image = index.apt, index.images(version)
    own, tools = ([], []) if old else index.headers(image[0], version)
    for folder, names in (("image", [index.of_arch(n) for n in image]), ("headers", own)):
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


def name(wanted, arch):
    """Of a kernel in the cache, without its version."""
    return wanted if arch == "x86" else f"{arch}-{wanted}"


def fetch(wanted, arch):
    """From the first suites that have such a kernel."""
    if not shutil.which("apt-get") or not base.machine_archive():
        raise Unavailable("there is no Debian archive in this machine's apt sources")
    missing = []
    host.claim_cache()
    for suites in OLD_SUITES.get(wanted, SUITES):
        with cache.workspace() as work:
            try:
                index = Index(base.PrivateApt(work, suites, archs=architectures(arch)), arch)
                version = index.newest(wanted)
                final = host.cache() / "debian-kernel" / f"{name(wanted, arch)}-{version}"
                if version and not cache.intact(final):
                    download(index, version, pathlib.Path(work), wanted in OLD_SUITES)
            except Failure as failure:
                if "No space left" in str(failure):
                    raise
                missing.append(f"{suites}: {failure}")
                continue
            if version:
                # from here on a failure does not mean that there is no package
                return publish(lambda tmp, work=work: assemble(pathlib.Path(work), tmp), final)
            missing.append(f"none in {suites}")
    raise Unavailable(f"no Debian kernel '{wanted}' for {arch}: {'; '.join(missing)}")


def architectures(arch):
    """That of this machine, for its programs, and that of the kernel; for apt."""
    return list(dict.fromkeys(DEBIAN_ARCH[a] for a in (host.machine(), arch)))


def cached(wanted, arch):
    found = [p for p in (host.cache() / "debian-kernel").glob(f"{name(wanted, arch)}-*")
             if cache.intact(p)]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


def path(wanted, arch):
    """The folder of a kernel and how it was come by; Unavailable if there is none."""
    found = cached(wanted, arch)
    if found and (host.offline() or os.environ.get("UPDATE") != "1"):
        return cache.taken(found)
    if host.offline():
        raise Unavailable(f"OFFLINE=1, and no Debian kernel '{wanted}' for {arch} in "
                          f"{host.cache()}")
    try:
        return fetch(wanted, arch)
    except Unavailable:
        if found:
            return cache.taken(found)
        raise


def module_env(built, env):
    """The environment to build a module in: the kernel's own compiler comes first."""
    return {**env, "PATH": f"{built / TOOLS}:{env['PATH']}"}

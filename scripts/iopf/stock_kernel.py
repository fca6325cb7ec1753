# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The newest kernel that Debian has the source of, without the series, built with the
options of a kernel of ours.

Debian's own builds of it have no iommufd, so nothing of what the series is about could
be compared with them. Options that it does not know, because the series brings them or
because it has dropped them, are left out and listed in the product's file `unknown`.
"""

import os
import pathlib
import re
import shutil

from iopf import base, build, cache, debian_kernel, host, packages
from iopf.cache import digest, publish
from iopf.debian_kernel import Unavailable
from iopf.patches import version_number
from iopf.process import logged, run
from iopf.testbed import TESTBED

PACKAGE = re.compile(r"^(linux-source-\d+\.\d+) ", re.M)
ARCHIVE = "source.tar.xz"
SUITE = "suite.cpio"


def newest_package(apt):
    """(package, version) of the youngest kernel source that an index has, or None."""
    names = PACKAGE.findall(run(["apt-cache", *apt.options, "search", "--names-only",
                                 "^linux-source-[0-9.]+$"]))
    found = [(name, version) for name in names
             for version in base.apt_versions(name, apt.options)
             if debian_kernel.is_wanted(version, "newest")]
    return max(found, key=lambda pair: version_number(pair[1]), default=None)


def fetch():
    """The source archive, of the first suites that have one; as for Debian's own kernel."""
    if not shutil.which("apt-get") or not base.machine_archive():
        raise Unavailable("there is no Debian archive in this machine's apt sources, and so no "
                          "newer kernel to compare with")
    for suites in debian_kernel.SUITES:
        with cache.workspace() as work:
            apt = base.PrivateApt(work, suites)
            found = newest_package(apt)
            if found:
                return publish(lambda tmp, apt=apt, found=found: download(apt, *found, tmp),
                               host.cache() / "stock-source" / found[1])[0]
    raise Unavailable(f"no linux-source package newer than {debian_kernel.SERIES} in "
                      f"{', '.join(debian_kernel.SUITES)}")


def download(apt, package, version, dest):
    apt.get("download", f"{package}={version}")
    run(["dpkg-deb", "-x", *apt.work.glob("*.deb"), apt.work / "x"])
    shutil.move(apt.work / "x/usr/src" / f"{package}.tar.xz", dest / ARCHIVE)


def cached():
    """The youngest source in the cache, or None."""
    found = [p for p in (host.cache() / "stock-source").glob("[0-9]*") if cache.intact(p)]
    return max(found, key=lambda p: version_number(p.name), default=None)


def source():
    found = cached()
    if found and (host.offline() or os.environ.get("UPDATE") != "1"):
        return cache.taken(found)[0]
    if host.offline():
        raise Unavailable(f"OFFLINE=1, and no source of a newer kernel in {host.cache()}; "
                          "run once with the network")
    return fetch()


def known_options(tree):
    """The names of all options that a kernel's Kconfig files define."""
    known = set()
    for file in tree.rglob("Kconfig*"):
        if file.is_file():
            known.update(re.findall(r"^\s*(?:menu)?config (\w+)", file.read_text(
                encoding="utf-8", errors="replace"), re.M))
    return known


def split_options(text, known):
    """The lines of a configuration that this kernel knows, and the options it does not.
    What a later line says is not set is not asked for."""
    kept, unknown, unset = [], [], set(re.findall(r"^# CONFIG_(\w+) is not set$", text, re.M))
    for line in text.splitlines():
        match = re.match(r"CONFIG_(\w+)=", line)
        if match and match[1] not in known:
            unknown.append(f"CONFIG_{match[1]}")
        elif not match or match[1] not in unset:
            kept.append(f"{line}\n")
    return "".join(kept), unknown


def make(kernel, package, dest):
    log = host.log("kernel-stock.log")
    with build.build_folder(host.out() / "build/linux-stock", keep=False) as work:
        tree, made = work / "source", work / "build"
        tree.mkdir()
        made.mkdir()
        logged(["tar", "-xJf", package / ARCHIVE, "-C", tree, "--strip-components=1"], log,
               what="source of the stock kernel")
        text, unknown = split_options("".join(f.read_text() for f in build.fragments(kernel)),
                                      known_options(tree))
        (dest / "unknown").write_text("".join(f"{name}\n" for name in unknown))
        command = build.configure_with(kernel, tree, text, made, log)
        logged([*command, f"-j{host.jobs()}", "all"], log, env=build.build_env(),
               what="stock kernel")
        build.keep_kernel(kernel, made, dest)
        if kernel.modules:
            build.keep_module_build(kernel, tree, made, dest, log)
        shutil.rmtree(tree)


def place(kernel, package):
    key = digest("stock-1", package.name, kernel.arch,
                 *build.toolchain(build.compiler(kernel.arch)), *build.fragments(kernel),
                 *["build"] * bool(kernel.modules))
    return host.cache() / "kernel" / f"stock-{package.name}-{key}"


def path(kernel):
    """The folder of the stock kernel with the options of `kernel`: its image, config,
    unknown, build if it has modules; and how it was come by."""
    package = source()
    return publish(lambda tmp: make(kernel, package, tmp), place(kernel, package))


# Of the source, what its kselftests are built from
SUITE_SOURCES = ["include", "scripts", "tools", "Makefile", "Kbuild", "Kconfig",
                 "drivers/iommu/iommufd"]


def make_suite(package, arch, dest):
    log, cross = host.log(f"suite-{arch}.log"), build.compiler(arch)
    with build.build_folder(host.out() / f"build/suite-{arch}", keep=False) as work:
        tree, tests = work / "source", work / "selftests"
        tree.mkdir()
        tests.mkdir()
        logged(["tar", "-xJf", package / ARCHIVE, "-C", tree, "--strip-components=1",
                "--wildcards", "--no-wildcards-match-slash",
                *(f"linux-source-*/{name}" for name in [*SUITE_SOURCES, f"arch/{arch}"])], log,
               what="source of the newest kernel")
        headers = build.install_headers(tree, arch, work, log)
        logged(["make", "-C", tree / "tools/testing/selftests/iommu", f"-j{host.jobs()}",
                f"OUTPUT={tests}", f"CC={cross}gcc", "LDFLAGS=-static",
                f"KHDR_INCLUDES=-isystem {headers}"], log, env=build.build_env(),
               what="kselftests of the newest kernel")
        entries = [f"usr/libexec/newest/{test.name}={test}" for test in sorted(tests.iterdir())
                   if os.access(test, os.X_OK) and test.is_file()]
        logged([TESTBED / "lib/initramfs", dest / SUITE, *entries], log,
               what="archive of the kselftests")
        shutil.rmtree(tree)


def suite_place(package, arch):
    key = digest("suite-1", package.name, arch, *build.toolchain(build.compiler(arch)),
                 *packages.own_versions(["libc6-dev", "libcap-dev", *packages.CROSS[arch]]))
    return host.cache() / "suite" / f"{arch}-{key}"


def suite_in_cache(arch):
    """Where the suite is once it is there; None if that cannot be told."""
    found = cached()
    return suite_place(found, arch) if found else None


def suite_path(arch):
    """The archive with iommufd's kselftests of the newest kernel; how it was come by."""
    package = source()
    folder, how = publish(lambda tmp: make_suite(package, arch, tmp),
                          suite_place(package, arch))
    return folder / SUITE, how


def release(built):
    """What a kernel's configuration says of its version."""
    match = re.search(r"^# Linux/\w+ (\S+) ", (pathlib.Path(built) / "config").read_text(
        encoding="utf-8"), re.M)
    return match[1] if match else "unknown version"

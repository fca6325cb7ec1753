# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The patched kernel as Debian packages: the distribution's configuration, the
series and arch/x86/configs/iopf.config, packed by the kernel's own bindeb-pkg.

KCONFIG_BASE=FILE takes another configuration as the base.
"""

import glob
import lzma
import os
import pathlib
import re
import shutil
import tempfile

from iopf import base, cache, host
from iopf.cache import publish
from iopf.errors import Failure
from iopf.host import REPO
from iopf.patches import version_number
from iopf.process import logged, run

PACKAGES = ["build-essential", "debhelper", "kmod"]
CONFIG_PACKAGE = base.KERNEL_PACKAGE.replace("source", "config")
FRAGMENT = REPO / "arch/x86/configs/iopf.config"

# What differs from the distribution's own kernel whatever its configuration says:
# the name, no debug information (it takes most of the time and ten times the
# disk), and no certificate of the distribution, whose file is not in its source.
OURS = """CONFIG_LOCALVERSION="-iopf"
# CONFIG_LOCALVERSION_AUTO is not set
# CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT is not set
CONFIG_DEBUG_INFO_NONE=y
CONFIG_SYSTEM_TRUSTED_KEYS=""
"""


def fetch_config(version, dest):
    """The distribution's configuration for amd64, from the package that holds it."""
    with tempfile.TemporaryDirectory(dir=dest) as work:
        run(["apt-get", "download", f"{CONFIG_PACKAGE}={version}"], cwd=work)
        run(["dpkg-deb", "-x", *glob.glob(f"{work}/*.deb"), f"{work}/x"])
        name = f"usr/src/{CONFIG_PACKAGE}/config.amd64_none_amd64.xz"
        (dest / "config").write_bytes(lzma.decompress((pathlib.Path(work) / "x" / name)
                                                      .read_bytes()))


def base_config(repo):
    """The text of the configuration to start from, and where it comes from."""
    own = os.environ.get("KCONFIG_BASE")
    if own:
        try:
            return pathlib.Path(own).read_text(), own
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"KCONFIG_BASE={own}: {error}; name a kernel's .config") from error
    # the configuration of the very version if there is one, else the newest
    exact = repo.name.partition("-")[2]
    known = base.apt_versions(CONFIG_PACKAGE)
    version = exact if exact in known else next(iter(known), None)
    if version and not host.offline():
        path, _ = publish(lambda tmp: fetch_config(version, tmp),
                          host.cache() / "config" / f"{CONFIG_PACKAGE}-{version}")
        return (path / "config").read_text(), path.name
    cached = filter(cache.intact, (host.cache() / "config").glob(f"{CONFIG_PACKAGE}-*"))
    best = max(cached, default=None, key=lambda path: (
        path.name == f"{CONFIG_PACKAGE}-{exact}", version_number(path.name)))
    if best:
        return (best / "config").read_text(), best.name
    raise Failure(f"no package {CONFIG_PACKAGE} here; set KCONFIG_BASE=FILE "
                  "to the configuration to build")


def package_version(release):
    """Grows with the commits of this repository, so that a later build upgrades."""
    stamp = run(["git", "-C", REPO, "log", "-1", "--date=format-local:%Y%m%d.%H%M",
                 "--format=%cd"], env={**os.environ, "TZ": "UTC"}).strip()
    return f"{release}+iopf{stamp}-1"


def configure(make, work, text, env, log):
    """Write .config; returns the options that must have been kept."""
    wanted = FRAGMENT.read_text() + OURS
    (work / ".config").write_text(f"{text}\n{wanted}")
    logged([*make, "olddefconfig"], log, env=env, what="kernel configuration")
    # an option whose value is the empty text may be missing in the result
    return re.findall(r"^(CONFIG_\w+=(?!\"\"$).*)$", wanted, re.M)


def pack(make, work, dest, version, env, log):
    """Build all of it; the packages go to `dest`. Returns them, images first."""
    for old in work.parent.glob("*.deb"):
        old.unlink()
    env = {**env, "KDEB_PKGVERSION": version, "KDEB_SOURCENAME": "linux-iopf",
           "KDEB_CHANGELOG_DIST": "unstable", "DEBFULLNAME": "linux-iopf",
           "DEBEMAIL": "linux-iopf@localhost"}
    logged([*make, "bindeb-pkg"], log, env=env, what="packages of the kernel")
    dest.mkdir(parents=True, exist_ok=True)
    made = []
    for deb in sorted(work.parent.glob("*.deb")):
        # the C library's headers are the distribution's business
        if not deb.name.startswith("linux-libc-dev"):
            (dest / deb.name).unlink(missing_ok=True)
            made.append(pathlib.Path(shutil.move(deb, dest / deb.name)))
    return sorted(made, key=lambda path: "image" not in path.name)

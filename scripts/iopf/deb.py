# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Builds the Debian packages iopf, libiopf1 and libiopf-dev in out/deb.

Source is tools/iommu with packaging/debian; its tests run, and lintian has the
last word. For the system this runs on, of any architecture that Debian has.
"""

import fnmatch
import os
import re
import shutil

from iopf import host, lock, packages, process
from iopf.errors import Failure, Parser
from iopf.host import REPO
from iopf.process import git_files, logged

# build-essential itself, since dpkg-checkbuilddeps asks for no less
PACKAGES = "build-essential debhelper lintian pkgconf".split()


def version():
    """The version, which header and changelog have to agree about."""
    header = re.search(r'IOPF_VERSION\s+"(.*)"',
                       (REPO / "tools/iommu/libiopf.h").read_text())[1]
    changelog = re.match(r"iopf \((.*?)\)",
                         (REPO / "packaging/debian/changelog").read_text())[1]
    if header != changelog:
        raise Failure(f"libiopf.h is version {header}, packaging/debian/changelog {changelog}; "
                      "write an entry for the new one")
    return header


def copy_source(dest):
    shutil.rmtree(dest.parent, ignore_errors=True)
    for top, target in (("tools/iommu", dest), ("packaging/debian", dest / "debian")):
        for name in git_files(REPO / top):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            # a link to another folder becomes the file
            shutil.copy(REPO / top / name, target / name)


# The names of licences: in our files, and in Debian's
LICENCES = {"GPL-2.0-only": "GPL-2.0-only", "GPL-2.0-or-later": "GPL-2.0-or-later",
            "LGPL-2.1-or-later OR MIT": "LGPL-2.1-or-later or Expat"}


def check_copyright(source):
    """debian/copyright says of each file what the file says."""
    text = (source / "debian/copyright").read_text()
    stanzas = re.findall(r"^Files: (.*(?:\n .*)*)\nCopyright: .*\nLicense: (.*)$", text, re.M)
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        name = str(file.relative_to(source))
        spdx = re.search(r"SPDX-License-Identifier: (.*?)( \*/)?$",
                         file.read_text()[:300], re.M)
        # the last stanza that fits counts
        said = [licence for globs, licence in stanzas
                if any(fnmatch.fnmatchcase(name, glob) for glob in globs.split())]
        if spdx and LICENCES.get(spdx[1]) != said[-1]:
            raise Failure(f"packaging/debian/copyright says {said[-1]} of {name}, "
                          f"which is {spdx[1]}; name it there", 1)


def build_packages(jobs):
    source = host.out() / "build/deb" / f"iopf-{version()}"
    log = host.log("deb.log")
    copy_source(source)
    check_copyright(source)
    env = process.plain_env({"DEB_BUILD_OPTIONS": f"parallel={jobs} noautodbgsym"})
    logged(["dpkg-buildpackage", "-us", "-uc", "-b"], log, cwd=source, env=env,
           what="dpkg-buildpackage")
    changes = sorted(source.parent.glob("*.changes"))
    logged(["lintian", "--fail-on", "error,warning", *(["--allow-root"] if not os.geteuid()
                                                       else []), *changes],
           log, cwd=source, what="lintian")
    dest = host.out() / "deb"
    dest.mkdir(parents=True, exist_ok=True)
    made = sorted(source.parent.glob("*.deb"))
    # packages of other kinds may lie there as well
    for old in [f for f in dest.glob("*.deb") if re.match(r"(lib)?iopf", f.name)]:
        old.unlink()
    return [shutil.copy(file, dest / file.name) for file in made]


def main():
    Parser(prog="deb", description=__doc__).parse_args()
    packages.install(PACKAGES)
    with lock.of_out("builds packages"):
        for file in build_packages(host.jobs()):
            print(file)

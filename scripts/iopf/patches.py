# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The series as files of this repository: order, patches, whole files."""

import hashlib
import os
import re

from iopf import host
from iopf.errors import Failure
from iopf.host import REPO

# Identity and date of the commits that only exist to be built: fixed, so that
# the same series on the same base gives the same commit ids everywhere.
BUILD_IDENT = ("linux-iopf", "linux-iopf@localhost", "2026-01-01T00:00:00Z")


class Series:
    """A series: where its files are here and in its tree."""

    def __init__(self, name, root, dirs, rename, prefix, needs=None):
        self.name = name
        self.needs = needs              # the series that it is put on, if any
        self.base = name.partition("-")[0]      # linux or qemu
        self.root = root                # whole files, at their tree path
        self.dir = root / "series"      # order and hook diffs
        self.dirs = dirs                # top-level folders of whole files
        self.rename = rename            # tree path -> path under root
        self.prefix = prefix            # of mail subjects

    @property
    def tree(self):
        """The git tree with the series applied, for building and for editing; one of
        its own for each release of QEMU."""
        release = os.environ.get("QVER") if self.base == "qemu" else None
        return host.out() / (f"{self.name}-{release}" if release else self.name)

    def below(self, version=None):
        """The series that this one is put on, with a base of that version; None for the
        bases with a folder `from-X`, which get what is in that alone."""
        return None if self.selection(version) else self.needs

    def here(self, tree_path):
        """Where a file of the series' tree stands in this repository."""
        return self.root / self.rename.get(tree_path, tree_path)

    def selection(self, version):
        """The folder `from-X` of a base that is not older than X, the newest such X;
        None for the bases that the series itself is for."""
        number = version_number(version or "")
        fitting = [p for p in self.dir.glob("from-*") if version_number(p.name) <= number]
        return max(fitting, key=lambda p: version_number(p.name), default=None)

    def order(self, version=None):
        """The patch files in the order of the file `series`. A base that has a folder
        `from-X` gets what is in that, and nothing else."""
        selection = self.selection(version)
        if selection:
            return sorted(p.name for p in selection.glob("*.patch"))
        names = []
        for line in (self.dir / "series").read_text(encoding="utf-8").splitlines():
            line = line.split("#")[0].strip()
            if line:
                names.append(line)
        return names

    def file(self, name, version):
        """The patch file for a base: that of its folder `from-X`; of the variants
        `before-X` with X newer than the base the oldest; else the patch itself."""
        selection = self.selection(version)
        if selection:
            return selection / name
        number = version_number(version)
        fitting = [p for p in self.dir.glob(f"before-*/{name}")
                   if version_number(p.parent.name) > number]
        return min(fitting, key=lambda p: version_number(p.parent.name),
                   default=self.dir / name)

    def whole_files(self):
        """Tree paths of the whole files that stand in this repository."""
        back = {v: k for k, v in self.rename.items()}
        found = []
        for top in self.dirs + list(back):
            path = self.root / top
            files = [path] if path.is_file() else sorted(path.rglob("*"))
            for file in files:
                rel = str(file.relative_to(self.root))
                if file.is_dir() or ignored(rel):
                    continue
                found.append(back.get(rel, rel))
        return found

    def key(self, version, without=()):
        """A digest of what the series puts on a base, messages left out.

        Paths that start with one of `without` do not count: a manual page
        is no reason to build a kernel.
        """
        digest = hashlib.sha256()
        self.add_to_key(digest, version, tuple(without))
        return digest.hexdigest()

    def add_to_key(self, digest, version, without):
        if self.below(version):
            self.below(version).add_to_key(digest, version, without)
        for name in self.order(version):
            patch = Patch.read(self, self.file(name, version))
            for part in re.split(r"^(?=diff --git )", patch.diff, flags=re.M):
                path = re.match(r"diff --git a/(\S+)", part)
                if path and not path[1].startswith(without):
                    digest.update(part.encode() + b"\0")
            for path in patch.adds:
                if not path.startswith(without):
                    digest.update(path.encode() + bytes([is_exec(self.here(path))]))
                    digest.update(self.here(path).read_bytes() + b"\0")


def version_number(text):
    return [int(n) for n in re.findall(r"\d+", text)]


def ignored(rel):
    """Products of a build in place and editors' leavings are no sources."""
    return bool(re.search(r"(\.(o|a|d|orig|rej|swp|pyc|cmd)|~)$|/__pycache__/", rel))


def is_exec(path):
    return os.access(path, os.X_OK) and path.is_file()


class Patch:
    """A file series/NN-slug.patch: subject, body, Adds: trailers, hook diff."""

    def __init__(self, subject, body, adds, diff):
        self.subject, self.body, self.adds, self.diff = subject, body, adds, diff

    @classmethod
    def read(cls, series, file):
        name, text = file.relative_to(series.dir), file.read_text(encoding="utf-8")
        if not text.startswith("Subject: "):
            raise Failure(f"{name}: the first line must be 'Subject: ...'")
        head, sep, diff = text.partition("\n---\n")
        if not sep:
            raise Failure(f"{name}: no line '---' between message and diff")
        subject, _, body = head[len("Subject: "):].partition("\n")
        adds = re.findall(r"^Adds: (\S+)$", body, re.M)
        body = re.sub(r"^Adds: \S+\n?", "", body + "\n", flags=re.M)
        for path in adds:
            if not series.here(path).is_file():
                raise Failure(f"{name}: adds {path}, which is not there; "
                              "write the file or drop the Adds: line")
        return cls(subject.strip(), body.strip("\n"), adds, diff)

    def text(self):
        adds = "".join(f"Adds: {path}\n" for path in self.adds)
        body = f"{self.body}\n" if self.body else ""
        gap = "\n" if adds and body else ""
        return f"Subject: {self.subject}\n\n{body}{gap}{adds}---\n{self.diff}"

    def message(self):
        return f"{self.subject}\n\n{self.body}\n" if self.body else f"{self.subject}\n"

    def slug(self):
        return re.sub(r"[^a-z0-9]+", "-", self.subject.lower()).strip("-")[:52].rstrip("-")


LINUX = Series(
    "linux", REPO,
    ["arch", "drivers", "include", "Documentation/driver-api",
     "Documentation/userspace-api", "samples", "mm", "tools/iommu", "tools/testing/selftests"],
    {"drivers/iommu/Kconfig.iopf": "Kconfig"}, "PATCH 6.12")
# What TCG needs, and nothing of ours: it can be had without the rest
QEMU_TCG = Series("qemu-tcg", REPO / "tools/qemu-tcg", ["tests"], {}, "PATCH 10.0")
QEMU = Series(
    "qemu", REPO / "tools/qemu",
    ["docs", "hw", "include", "system", "tests", "util"], {}, "PATCH 10.0", QEMU_TCG)
SERIES = {series.name: series for series in (LINUX, QEMU_TCG, QEMU)}


def patched_paths(name):
    """Tree paths of all files that a series adds, changes or removes, with those of the
    series that it is put on."""
    series = SERIES[name]
    paths = set(patched_paths(series.needs.name)) if series.needs else set()
    for patch in series.order():
        read = Patch.read(series, series.dir / patch)
        paths |= set(read.adds) | set(re.findall(r"^\+\+\+ b/(.*)$", read.diff, re.M))
        paths |= set(re.findall(r"^--- a/(.*)$", read.diff, re.M))
    return sorted(paths)

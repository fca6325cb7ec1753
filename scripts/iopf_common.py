# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What the scripts share: where things are, the two series, errors, progress."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
OUT = pathlib.Path(os.environ.get("OUT", REPO / "out")).resolve()
CACHE = pathlib.Path(
    os.environ.get("IOPF_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "linux-iopf"
).expanduser()

# Identity and date of the commits that only exist to be built: fixed, so that
# the same series on the same base gives the same commit ids everywhere.
BUILD_IDENT = ("linux-iopf", "linux-iopf@localhost", "2026-01-01T00:00:00Z")


class Failure(Exception):
    """One line that names the cause and the cure; exit status 1 or 2."""

    def __init__(self, text, status=2):
        super().__init__(text)
        self.status = status


def die(failure):
    print(f"error: {failure}", file=sys.stderr)
    sys.exit(getattr(failure, "status", 2))


def run(args, **kw):
    """Run a command that must succeed; its output is returned as text."""
    kw.setdefault("text", True)
    if not kw["text"]:
        kw.pop("errors", None)
    res = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, check=False, **kw)
    if res.returncode:
        err = res.stderr if kw["text"] else res.stderr.decode(errors="replace")
        last = (err.strip() or f"exit status {res.returncode}").splitlines()[-1]
        raise Failure(f"{' '.join(str(a) for a in args[:4])}: {last}")
    return res.stdout


class Series:
    """One of the two series: where its files are here and in its tree."""

    def __init__(self, name, root, dirs, rename, prefix):
        self.name = name
        self.root = root                # whole files, at their tree path
        self.dir = root / "series"      # order and hook diffs
        self.dirs = dirs                # top-level folders of whole files
        self.rename = rename            # tree path -> path under root
        self.prefix = prefix            # of mail subjects
        self.tree = OUT / name

    def here(self, tree_path):
        """Where a file of the series' tree stands in this repository."""
        return self.root / self.rename.get(tree_path, tree_path)

    def order(self):
        """The patch files in the order of the file `series`."""
        names = []
        for line in (self.dir / "series").read_text().splitlines():
            line = line.split("#")[0].strip()
            if line:
                names.append(line)
        return names

    def file(self, name, version):
        """The patch file for a base: of the variants `before-X` with X newer
        than the base the oldest, else the patch itself."""
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
        for name in self.order():
            patch = Patch.read(self, self.file(name, version))
            for part in re.split(r"^(?=diff --git )", patch.diff, flags=re.M):
                path = re.match(r"diff --git a/(\S+)", part)
                if path and not path[1].startswith(tuple(without)):
                    digest.update(part.encode() + b"\0")
            for path in patch.adds:
                if not path.startswith(tuple(without)):
                    digest.update(path.encode() + bytes([is_exec(self.here(path))]))
                    digest.update(self.here(path).read_bytes() + b"\0")
        return digest.hexdigest()


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
        name, text = file.relative_to(series.dir), file.read_text()
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


SERIES = {
    "linux": Series(
        "linux", REPO,
        ["arch", "drivers", "include", "Documentation/driver-api",
         "Documentation/userspace-api", "samples", "mm", "tools/iommu", "tools/testing/selftests"],
        {"drivers/iommu/Kconfig.iopf": "Kconfig"}, "PATCH 6.12"),
    "qemu": Series(
        "qemu", REPO / "tools/qemu",
        ["docs", "hw", "include", "system", "tests", "util"], {}, "PATCH 10.0"),
}


class Progress:
    """`[3/7] kernel x86 ... 1m12s`, with a running clock on a terminal."""

    def __init__(self, total=None):
        self.total, self.number = total, 0

    def step(self, text, func, *args):
        self.number += 1
        label = f"[{self.number}/{self.total}] {text}" if self.total else text
        start = time.monotonic()
        print(f"{label} ...", flush=True)
        result = func(*args)
        spent = int(time.monotonic() - start)
        note = f" ({result[1]})" if isinstance(result, tuple) else ""
        print(f"{label} done in {spent // 60}m{spent % 60:02d}s{note}", flush=True)
        return result[0] if isinstance(result, tuple) else result


def logged(args, log, cwd=None, env=None, what=None):
    """Run a long command into a log file; name the log when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    tick = time.monotonic()
    with open(log, "ab") as file:
        file.write(f"+ {' '.join(str(a) for a in args)}\n".encode())
        file.flush()
        with subprocess.Popen([str(a) for a in args], cwd=cwd, env=env,
                              stdin=subprocess.DEVNULL, stdout=file,
                              stderr=subprocess.STDOUT) as proc:
            while True:
                try:
                    status = proc.wait(timeout=30)
                    break
                except subprocess.TimeoutExpired:
                    spent = int(time.monotonic() - tick)
                    print(f"    ... {spent // 60}m{spent % 60:02d}s, log {log}",
                          flush=True)
    if status:
        tail = log.read_text(errors="replace").splitlines()
        errors = [t for t in tail if re.search(r"\b(error|Error|ERROR|FAILED)\b", t)]
        for line in (errors or tail)[:5]:
            print(f"    {line}", file=sys.stderr)
        raise Failure(f"{what or args[0]} failed (status {status}); read {log}")


def publish(build, final):
    """Call build(tmpdir), then rename the result into place in one step."""
    if (final / ".complete").exists():
        return final, "cached"
    tmp = final.with_name(f".{final.name}.{os.getpid()}")
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    try:
        build(tmp)
        (tmp / ".complete").touch()
        shutil.rmtree(final, ignore_errors=True)
        tmp.rename(final)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return final, "built"


def digest(*parts):
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            total.update(part.read_bytes())
        else:
            total.update(str(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:24]

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What was built or fetched, kept for all clones of this machine.

A product is a folder CACHE/KIND/NAME. It is made in a temporary folder beside
it, sealed with a manifest of its files, and renamed into place, under a lock
that all clones respect. What a killed run leaves has no manifest and is never
taken; what was cut short or damaged later does not agree with its manifest and
is made again.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import time

from iopf import host, lock, progress
from iopf.errors import Failure

MANIFEST = ".complete"
VERSION = 1
# git itself checks each object that it reads out of a pack, and a pack of a base
# is too large to be read in full by every command: its size must do
SIZE_ONLY = re.compile(r"objects/pack/[^/]+\.pack$")
LEFTOVER = re.compile(r"\.(.+)\.(\d+)")


def digest(*parts):
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            total.update(part.read_bytes())
        else:
            total.update(str(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:24]


def digest_files(files, root):
    """Content, name and mode of files below a folder."""
    return digest(*[part for f in files for part in (
        str(f.relative_to(root)), os.access(f, os.X_OK), f)])


def file_sum(path, sync=False):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            total.update(chunk)
        if sync:
            os.fsync(file.fileno())
    return total.hexdigest()


def sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def seal(folder):
    """Write the manifest of a folder, when all of it is on the disk."""
    files, links = {}, {}
    for top, dirs, names in os.walk(folder):
        for name in names + [d for d in dirs if os.path.islink(os.path.join(top, d))]:
            path = pathlib.Path(top) / name
            rel = str(path.relative_to(folder))
            if path.is_symlink():
                links[rel] = os.readlink(path)
            elif rel != MANIFEST:
                size = path.stat().st_size
                total = file_sum(path, sync=True)
                files[rel] = [size, None if SIZE_ONLY.search(rel) else total]
        sync_folder(top)
    with open(folder / MANIFEST, "w", encoding="utf-8") as out:
        json.dump({"version": VERSION, "files": files, "links": links}, out)
        out.flush()
        os.fsync(out.fileno())
    sync_folder(folder)


def damage(folder):
    """What is wrong with a product; None if nothing is, "" if there is none."""
    if not folder.is_dir():
        return ""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            return "its manifest is of another version"
        for rel, (size, total) in data["files"].items():
            path = folder / rel
            if path.is_symlink() or not path.is_file():
                return f"{rel} is missing"
            if path.stat().st_size != size:
                return f"{rel} has {path.stat().st_size} bytes instead of {size}"
            if total and file_sum(path) != total:
                return f"{rel} has another checksum"
        for rel, target in data["links"].items():
            if not (folder / rel).is_symlink() or os.readlink(folder / rel) != target:
                return f"{rel} is no link to {target}"
    except FileNotFoundError:
        return "it was never finished"
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "it cannot be read"
    return None


VERIFIED = {}       # folder -> identity of the manifest that it agreed with


def intact(folder):
    """Whether a product is whole; each is read once in the life of a command."""
    try:
        stat = (folder / MANIFEST).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    identity = (stat.st_ino, stat.st_size)
    if VERIFIED.get(folder) == identity:
        return True
    if damage(folder) is not None:
        return False
    VERIFIED[folder] = identity
    return True


def taken(folder):
    """Note that a product was of use, for `prune`."""
    try:
        os.utime(folder / MANIFEST)
    except OSError:
        pass
    return folder, "cached"


def remove_leftovers(final):
    """Of runs that were killed while they made this product; its lock is ours."""
    for path in final.parent.glob(f".{final.name}.*"):
        match = LEFTOVER.fullmatch(path.name)
        if match and match[1] == final.name:
            shutil.rmtree(path, ignore_errors=True)


def publish(build, final):
    """The product `final`, made by build(folder) if it is not there and whole."""
    if intact(final):
        return taken(final)
    host.claim_cache()
    with lock.of_product(final, f"makes {final.parent.name}/{final.name}"):
        if intact(final):
            return taken(final)     # made by the process that we have waited for
        wrong = damage(final)
        if wrong:
            progress.say(f"    {final} is not used: {wrong}; it is made again", always=True)
        remove_leftovers(final)
        tmp = final.with_name(f".{final.name}.{os.getpid()}")
        old = final.with_name(f".{final.name}.0")
        tmp.mkdir(parents=True)
        try:
            build(tmp)
            seal(tmp)
            if final.exists() or final.is_symlink():
                final.rename(old)
            tmp.rename(final)
            sync_folder(final.parent)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    return final, "built"


def write_small(path, text):
    """A small file that is there in full or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(tmp, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)


@contextlib.contextmanager
def workspace():
    """A temporary folder on the disk of the cache, for what is fetched."""
    top = host.claim_cache() / "work"
    top.mkdir(exist_ok=True)
    remove_dead(top)
    with contextlib.ExitStack() as stack:
        with lock.of_workspaces():      # nobody finds it before it is locked
            path = pathlib.Path(tempfile.mkdtemp(prefix=".fetch.", dir=top))
            stack.enter_context(lock.of_workspace(path))
        try:
            yield str(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)


def remove_dead(top):
    """Workspaces of processes that are gone; returns what went.

    Who is at work there holds a lock, which tells also of processes in other
    namespaces; a process number does not.
    """
    gone = []
    with lock.of_workspaces():
        for path in top.glob(".fetch.*"):
            if not lock.in_use(path):
                gone.append((path, size_of(path)))
                shutil.rmtree(path, ignore_errors=True)
    return gone


# ---- for people: sizes and pruning ---------------------------------------------------

def size_of(path):
    """Bytes on the disk."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_blocks * 512
    total = 0
    for top, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(top, name)).st_blocks * 512
            except FileNotFoundError:
                pass        # somebody else is at work there
    return total


def human(size):
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def kinds():
    path = host.cache()
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir()
                  if p.is_dir() and not p.is_symlink() and p.name != "lock")


def sizes():
    """[(kind, number of entries, bytes)]"""
    return [(kind.name, sum(1 for p in kind.iterdir() if not p.name.startswith(".")),
             size_of(kind)) for kind in kinds()]


def leftover_of(path):
    """The product that a temporary folder was to become, or None."""
    match = LEFTOVER.fullmatch(path.name)
    return path.with_name(match[1]) if match else None


def removable(path, used, before):
    """Whether prune may have an entry: it is ours, of no use here, and old."""
    if path in used:
        return False
    if path.parent.name == "check":
        return path.is_file() and path.stat().st_mtime < before
    manifest = path / MANIFEST
    return manifest.is_file() and manifest.stat().st_mtime < before


def prune(used, days):
    """Remove what `used` does not name and nobody took for so many days.

    Returns [(path, bytes)] of what went. What is being made is left alone, and
    so is all that publish() did not make.
    """
    if not host.cache().is_dir():
        return []
    if not host.cache_is_ours():
        raise Failure(f"{host.cache()} was not made by this project and is left alone")
    gone, before = remove_dead(host.cache() / "work"), time.time() - days * 86400
    for kind in kinds():
        if kind.name == "work":
            continue
        for path in sorted(kind.iterdir()):
            final = leftover_of(path)
            if not final and not removable(path, used, before):
                continue
            with lock.of_product(final or path, "prunes the cache", wait=False) as held:
                if not held.taken or not (path.exists() or path.is_symlink()):
                    continue
                size = size_of(path)
                if path.is_dir() and not path.is_symlink():
                    doomed = path.with_name(f".{(final or path).name}.0")
                    if path != doomed:
                        path.rename(doomed)
                    shutil.rmtree(doomed)
                else:
                    path.unlink()
                gone.append((path, size))
    return gone

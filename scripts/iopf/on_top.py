# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Diffs that a tree has on top of its series, and that are no part of it.

Each is a file with a head for its readers, up to the first line "diff --git".
"""

import re
import tempfile

from iopf import base, host, lock, process, series
from iopf.errors import Failure
from iopf.patches import BUILD_IDENT, SERIES
from iopf.series import git, ident_env

MARK = "\ndiff --git "


def place(name, label):
    """Where such a tree is.

    A build beside it (build.work_folder) sees it by the same relative path as the one
    beside the tree of the series alone: what does not differ is in the compiler cache.
    """
    return host.out() / "on-top" / label / name


def tree(name, label, diffs):
    """The tree of a series and of diffs, in the order given, one commit a diff."""
    made = place(name, label)
    with lock.of_out(f"makes {made}"):
        repo = base.repository(name)
        tip, version = series.commit_series(repo, SERIES[name], BUILD_IDENT)
        series.put_tree(repo, made, commit(repo, tip, diffs, version))
    return made


def commit(repo, parent, diffs, version):
    """Commit diffs on a commit; returns the last one."""
    with tempfile.TemporaryDirectory() as tmp:
        env = {"GIT_INDEX_FILE": f"{tmp}/index", **ident_env(BUILD_IDENT)}
        git(repo, "read-tree", parent, env=env)
        for file in diffs:
            try:
                git(repo, "apply", "--cached", "--whitespace=nowarn", file, env=env)
            except Failure as failure:
                raise Failure(f"{file} does not fit the series on {version} any more, "
                              f"correct it: {process.cause(str(failure))}", 1) from failure
            written = git(repo, "write-tree", env=env).strip()
            parent = git(repo, "commit-tree", written, "-p", parent, "-m", file.name,
                         env=env).strip()
    return parent


def is_made(name, label):
    """Whether tree() has made that tree."""
    return (place(name, label) / ".git/iopf-tip").exists()


def refresh(name, label, diffs):
    """Write diffs anew, each from what its files are now in the tree that tree() made."""
    made = place(name, label)
    if not is_made(name, label):
        raise Failure(f"there is no tree {made}; it comes with the kernel {label}")
    first = f"{(made / '.git/iopf-tip').read_text().strip()}~{len(diffs)}"
    for file in diffs:
        head, _, old = file.read_text(encoding="utf-8").partition(MARK)
        paths = re.findall(r"^\+\+\+ b/(.*)$", old, re.M)
        new = git(made, "diff", "--no-color", "--no-ext-diff", "--no-renames", "-U2",
                  "--src-prefix=a/", "--dst-prefix=b/", first, "--", *paths)
        new = re.sub(r"^index [0-9a-f]+\.\.[0-9a-f]+.*\n", "", new, flags=re.M)
        file.write_text(f"{head}\n{new}", encoding="utf-8")

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The patch series of this repository, as a git tree and back.

    series apply  linux|qemu   base + series -> a git tree in out/, one commit a patch
    series export linux|qemu   that tree's commits -> series/ and the whole files
    series check  linux|qemu   every whole file is in one patch; export of apply changes nothing
    series mbox   linux|qemu   mails in out/mbox/, author and sign-off from your git identity
    series rebase linux|qemu   onto a base that a hook does not fit: stops there, goes on when
                               called again after you have mended it
    series log    linux|qemu   number, subject and files of each patch

The series qemu is put on a small one that can be had alone, qemu-tcg: all that is done
with the two above can be done with that, and its commits are below those of qemu.

A patch is series/NN-slug.patch: a mail-style header, `Adds:` lines that name
the whole files which come in with it, a line `---`, and the diff of existing
files. KSRC=DIR and QSRC=DIR choose another base tree, QVER=VERSION another release of
QEMU: then series/from-VERSION/ has the patches for it, whose diffs may also change the
whole files that come in with them.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from iopf import base, host, lock, process
from iopf.errors import Failure, Parser
from iopf.patches import BUILD_IDENT, SERIES, Patch
from iopf.process import run, succeeds


def git(repo, *args, env=None, **kw):
    return run(["git", "-C", repo, *args], env=process.plain_env(env), **kw)


def ident_env(ident):
    name, mail, date = ident
    env = {}
    for who in ("AUTHOR", "COMMITTER"):
        env.update({f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": mail})
        if date:
            env[f"GIT_{who}_DATE"] = date
    return env


class Misfit(Failure):
    """A hook that does not fit the base. `commit` is what the patches before it gave."""

    def __init__(self, text):
        super().__init__(text, 1)
        self.commit = None


def put_whole_files(repo, series, patch, name, env, version):
    """Add the whole files of a patch to the index that env names.

    All at once: a kernel's index takes git a while to read and to write.
    """
    if not patch.adds:
        return
    there = git(repo, "ls-files", "--", *patch.adds, env=env).splitlines()
    if there:
        raise Failure(f"{name} adds {there[0]}, which {version} or an earlier "
                      "patch already has", 1)
    files = [series.here(path).resolve() for path in patch.adds]
    blobs = git(repo, "hash-object", "-w", "--no-filters", "--stdin-paths", env=env,
                input="".join(f"{file}\n" for file in files)).split()
    lines = [f"{'100755' if os.access(file, os.X_OK) else '100644'} {blob}\t{path}\n"
             for file, blob, path in zip(files, blobs, patch.adds)]
    git(repo, "update-index", "--add", "--index-info", env=env, input="".join(lines))


def apply_patch(repo, series, name, env, version):
    """Put one patch into the index that env names."""
    patch = Patch.read(series, series.file(name, version))
    put_whole_files(repo, series, patch, name, env, version)
    if patch.diff.strip():
        with process.child(["git", "-C", repo, "apply", "--cached", "--whitespace=nowarn", "-"],
                           process.plain_env(env), stdin=subprocess.PIPE,
                           stderr=subprocess.PIPE, encoding="utf-8") as proc:
            said = proc.communicate(patch.diff)[1]
        if proc.returncode:
            where = re.search(r"error: patch failed: (\S+):(\d+)", said)
            missing = re.search(r"error: (\S+): does not exist", said)
            file = (f"{where[1]} line {where[2]}" if where else
                    f"{missing[1]} (no such file)" if missing else process.cause(said))
            raise Misfit(f"{name} does not apply to {version}: {file}; "
                         f"'scripts/series rebase {series.name}' stops there, for you to mend it")
    return patch


def commit_series(repo, series, ident):
    """Commit the whole series on the base commit, without any work tree."""
    version = base.version(repo, series.base)
    parent = start(repo, series, version)
    return commit_patches(repo, series, series.order(version), parent, version, ident), version


def start(repo, series, version):
    """The commit that a series is put on: the base, or the last of the series below."""
    if series.below(version):
        return commit_series(repo, series.below(version), BUILD_IDENT)[0]
    return git(repo, "rev-parse", "refs/tags/base^{commit}").strip()


def commit_patches(repo, series, names, parent, version, ident):
    """Commit patches on a commit; returns the last one."""
    with tempfile.TemporaryDirectory() as tmp:
        env = {"GIT_INDEX_FILE": f"{tmp}/index", **ident_env(ident)}
        git(repo, "read-tree", parent, env=env)
        for name in names:
            try:
                patch = apply_patch(repo, series, name, env, version)
            except Misfit as misfit:
                misfit.commit = parent
                raise
            tree = git(repo, "write-tree", env=env).strip()
            parent = git(repo, "commit-tree", tree, "-p", parent, "-F", "-",
                         env=env, input=patch.message()).strip()
    return parent


def has_work(tree, tip=None):
    """Whether a person's commits or changes in a tree are in no export."""
    if not (tree / ".git/iopf-tip").exists():
        return False
    made = (tree / ".git/iopf-tip").read_text().strip()
    head = git(tree, "rev-parse", "HEAD").strip()
    dirty = git(tree, "status", "--porcelain", "--untracked-files=no").strip()
    return bool(dirty) or head not in (made, tip)


def set_aside(tree):
    """Before an interrupted checkout is taken up again: what if it was a person's work?"""
    (tree / ".git/index.lock").unlink(missing_ok=True)
    saved = git(tree, "stash", "create", env=ident_env(BUILD_IDENT)).strip()
    if saved:
        git(tree, "update-ref", "refs/iopf/interrupted", saved)


def checkout(series, ident=BUILD_IDENT):
    """Make or update out/NAME; refuse to overwrite a person's work in it."""
    with lock.of_out(f"makes {series.tree}"):
        repo = base.repository(series.base)
        tip, version = commit_series(repo, series, ident)
        put_tree(repo, series.tree, tip)
    return series.tree, version


def put_tree(repo, tree, tip):
    """Bring a tree to a commit, if nobody's work is lost by that."""
    mark = tree / ".git/iopf-checkout"
    base.shared_clone(repo, tree)
    if (tree / ".git/iopf-tip").exists() and not succeeds(
            ["git", "-C", tree, "cat-file", "-e", "HEAD^{commit}"]):
        raise Failure(f"{tree} was made with another cache, which has its commits; set "
                      f"IOPF_CACHE to that one again, or 'rm -rf {tree}' drops the tree")
    if mark.exists():
        set_aside(tree)
    elif (tree / ".git/iopf-tip").exists():
        if has_work(tree, tip):
            raise Failure(f"{tree} has work that is not exported; "
                          f"'make export' keeps it, 'rm -rf {tree}' drops it")
        if git(tree, "rev-parse", "HEAD").strip() == tip:
            return
    mark.write_text(f"{tip}\n")     # from here on what differs is our own half work
    git(tree, "checkout", "-q", "-f", "-B", "iopf", tip)
    (tree / ".git/iopf-tip").write_text(f"{tip}\n")
    mark.unlink()


def built_tree(name):
    """The applied tree in out/; only asked for when something must be built."""
    return checkout(SERIES[name])[0]


def tree_patches(repo, first, last):
    """The commits first..last as Patch objects plus the files they add."""
    added = {}
    for commit in git(repo, "rev-list", "--reverse", f"{first}..{last}").split():
        subject, body = git(repo, "log", "-1", "--format=%s%x00%b", commit).split("\0")
        body = re.sub(r"^(Signed-off-by|Adds): .*\n?", "", body, flags=re.M).strip("\n")
        hooks, adds = [], []
        status = git(repo, "diff-tree", "-r", "--no-renames", "--name-status",
                     "--no-commit-id", commit)
        for line in status.splitlines():
            kind, path = line.split("\t", 1)
            if kind == "A":
                added[path] = commit
                adds.append(path)
            elif path in added:
                raise Failure(f"{path} comes in with {added[path][:12]} and is changed by "
                              f"{commit[:12]} ({subject}); squash the change into the first", 1)
            else:
                hooks.append(path)
        diff = ""
        if hooks:
            diff = git(repo, "diff-tree", "-p", "--no-renames", "--no-color", "--no-ext-diff",
                       "--no-commit-id", "--src-prefix=a/", "--dst-prefix=b/", "-U3", commit,
                       "--", *hooks)
            # blob names differ between base versions and help nobody
            diff = re.sub(r"^index [0-9a-f]+\.\.[0-9a-f]+.*\n", "", diff, flags=re.M)
        yield commit, Patch(subject, body, adds, diff)


def without_positions(data):
    """A patch without what may differ from base to base: where its hunks land."""
    return re.sub(rb"^@@ -\d+(,\d+)? \+\d+(,\d+)? @@.*$", rb"@@ \1 \2", data, flags=re.M)


def export_to(series, repo, first, last, write, remove):
    """Hand every file of the exported series to write(), stale ones to remove().

    A file that no patch names is none of our business here: it may be new work.
    """
    before = {p for n in series.order() for p in Patch.read(series, series.dir / n).adds}
    names, kept = [], set()
    # all of it is read, and may be refused, before the first file is written
    for number, (commit, patch) in enumerate(list(tree_patches(repo, first, last)), 1):
        name = f"{number:02d}-{patch.slug()}.patch"
        names.append(name)
        write(series.dir / name, patch.text().encode(), False)
        for path in patch.adds:
            kept.add(path)
            mode = git(repo, "ls-tree", commit, "--", path).split()[0]
            data = git(repo, "cat-file", "blob", f"{commit}:{path}", text=False)
            write(series.here(path), data, mode == "100755")
    write(series.dir / "series", "".join(f"{n}\n" for n in names).encode(), False)
    for file in sorted(series.dir.glob("*.patch")):
        if file.name not in names:
            remove(file)
    for path in before - kept:
        if series.here(path).exists():
            remove(series.here(path))


def title(name):
    """The name of a patch without its number."""
    return re.sub(r"^\d+-", "", name)


def selection_files(series, repo, first, last, folder):
    """{name: text} of the patches of a folder `from-X`, out of the commits first..last.

    A patch has the number of that of the series with its title, or keeps its own. Its
    diff is what differs from the base and the whole files as they stand here, so it says
    what a whole file needs on these bases.
    """
    known = {title(p.name): p.name for p in sorted(folder.glob("*.patch"))}
    known.update({title(name): name for name in series.order()})
    made, parent = {}, git(repo, "rev-parse", f"{first}^{{commit}}").strip()
    for commit, patch in tree_patches(repo, first, last):
        name = known.get(f"{patch.slug()}.patch", f"99-{patch.slug()}.patch")
        with tempfile.TemporaryDirectory() as tmp:
            env = {"GIT_INDEX_FILE": f"{tmp}/index"}
            git(repo, "read-tree", parent, env=env)
            put_whole_files(repo, series, patch, name, env, "the tree")
            before = git(repo, "write-tree", env=env).strip()
        diff = git(repo, "diff-tree", "-p", "-r", "--no-renames", "--no-color", "--no-ext-diff",
                   "--src-prefix=a/", "--dst-prefix=b/", "-U3", before, commit)
        diff = re.sub(r"^index [0-9a-f]+\.\.[0-9a-f]+.*\n", "", diff, flags=re.M)
        made[name] = Patch(patch.subject, patch.body, patch.adds, diff).text()
        parent = commit
    return made


def export_selection(series, tree, since):
    """Write the folder `from-VERSION` anew."""
    folder = series.dir / f"from-{since}"
    made = selection_files(series, tree, "refs/tags/base", "HEAD", folder)
    folder.mkdir(exist_ok=True)
    changed = [p for p in sorted(folder.glob("*.patch")) if p.name not in made]
    for path in changed:
        path.unlink()
    for name, text in made.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            path.write_text(text, encoding="utf-8")
    return changed


def check_selection(series, repo, tip, version):
    """An export of what the folder of a release gives changes nothing in it."""
    folder = series.selection(version)
    made = selection_files(series, repo, "refs/tags/base", tip, folder)
    for name in sorted(set(made) | set(series.order(version))):
        path = folder / name
        text = path.read_bytes() if path.is_file() else b""
        if without_positions(text) != without_positions(made.get(name, "").encode()):
            raise Failure(f"{path} is not what an export of the applied patches gives; run "
                          f"'scripts/series export {series.name} --since "
                          f"{folder.name.partition('-')[2]}' and commit the difference", 1)
    print(f"{series.name}: {len(made)} patches of {folder.name} apply to {version} and export "
          "back unchanged")


def cmd_apply(series, _opts):
    tree, version = checkout(series)
    count = len(series.order(version))
    print(f"{tree}: {version} and {count} patches, branch iopf")


def namesake(series, patch):
    """The name of the patch in the series that is the same but for its number, or None."""
    return next((n for n in series.order() if title(n) == title(patch.name)), None)


def renumber_variant(series, variant, changed):
    """Give a variant its patch's new number; without such a patch it is of no use."""
    changed.append(variant)
    name = namesake(series, variant)
    if name:
        variant.rename(variant.with_name(name))
    else:
        variant.unlink()


def renumber_selected(series, patch, changed):
    """Give a patch for later releases the number that its like has now. One that has no
    like in the series is there for those releases alone."""
    name = namesake(series, patch)
    if name not in (None, patch.name):
        changed.append(patch)
        patch.rename(patch.with_name(name))


def cmd_export(series, opts):
    with lock.of_out(f"exports {series.name}"):
        export(series, opts)


def export(series, opts):
    tree = pathlib.Path(opts.tree or series.tree)
    if not (tree / ".git").exists():
        raise Failure(f"{tree} is no git tree; 'make tree' makes it")
    if (tree / ".git/iopf-rebase").exists():
        raise Failure(f"{tree} is in the middle of a rebase; 'scripts/series rebase "
                      f"{series.name}' goes on with it")
    if git(tree, "status", "--porcelain", "--untracked-files=no").strip():
        raise Failure(f"{tree} has changes that are not committed; commit them first")
    number = base.version(tree, series.base)
    changed = []
    if bool(opts.since) != bool(series.selection(number)) and not opts.variant:
        raise Failure(f"{tree} is of {number}; --since VERSION is for bases that have a folder "
                      "from-VERSION, and for these alone")
    if opts.since:
        return told(tree, export_selection(series, tree, opts.since))

    def write(path, data, executable):
        if opts.variant:
            if path.parent != series.dir:
                if not path.is_file() or path.read_bytes() != data:
                    raise Failure(f"{path} differs on {number}; a variant may differ "
                                  "in its hooks only", 1)
                return
            if path.name == "series":
                return
            other = series.dir / f"before-{opts.variant}" / path.name
            # what the older base would get without this variant
            now = series.file(path.name, opts.variant)
            if without_positions(now.read_bytes()) == without_positions(data):
                if other.exists():
                    changed.append(other)
                    other.unlink()
                return
            path = other
        if path.is_file() and path.read_bytes() == data:
            return
        changed.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if executable else 0o644)

    def remove(path):
        if opts.variant:
            raise Failure(f"{path} is not in the series on {number}; a variant must have "
                          "the same patches", 1)
        changed.append(path)
        path.unlink()

    export_to(series, tree, first_of(tree, series, number), "HEAD", write, remove)
    if not opts.variant:
        for variant in sorted(series.dir.glob("before-*/*.patch")):
            if variant.name not in series.order():
                renumber_variant(series, variant, changed)
        for patch in sorted(series.dir.glob("from-*/*.patch")):
            renumber_selected(series, patch, changed)
    return told(tree, changed)


def first_of(tree, series, version):
    """Where the commits of a series begin in a tree that a person has worked in."""
    first = start(tree, series, version)
    if not succeeds(["git", "-C", tree, "merge-base", "--is-ancestor", first, "HEAD"]):
        raise Failure(f"{tree} is not on what {series.needs.name} is now; "
                      f"'git rebase --onto {first[:12]}' with the last commit of that series as "
                      "upstream puts it there")
    return first


def told(tree, changed):
    """The tree is what was exported, and these files came of it."""
    (tree / ".git/iopf-tip").write_text(git(tree, "rev-parse", "HEAD"))
    for path in changed:
        print(path)
    print(f"{len(changed)} files changed; look at them with git diff")


def check_whole_files_of_selections(series):
    """What the folders `from-X` change in whole files fits these: for that, the base that
    it is for need not be there. Nothing else would tell until somebody builds that."""
    for file in sorted(series.dir.glob("from-*/*.patch")):
        patch = Patch.read(series, file)
        touched = set(re.findall(r"^diff --git a/\S+ b/(\S+)$", patch.diff, re.M))
        paths = sorted(touched & set(patch.adds))
        if not paths:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for path in paths:
                copy = pathlib.Path(folder) / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(series.here(path), copy)
            command = ["git", "apply", "--check", *[f"--include={path}" for path in paths], "-"]
            try:
                run(command, cwd=folder, input=patch.diff)
            except Failure as failure:
                release = file.parent.name.partition("-")[2]
                raise Failure(f"{file} does not fit the whole files any more: "
                              f"{process.cause(str(failure))}; 'scripts/series rebase "
                              f"{series.name}' with QVER set to a release from {release} on "
                              "stops there", 1) from failure


def cmd_check(series, _opts):
    seen = {}
    for name in series.order():
        for path in Patch.read(series, series.dir / name).adds:
            if path in seen:
                raise Failure(f"{path} is added by {seen[path]} and by {name}; keep one", 1)
            seen[path] = name
    for path in series.whole_files():
        if path not in seen:
            raise Failure(f"{series.here(path)} is in no patch; name it in an Adds: line "
                          "of the patch it comes in with", 1)
    check_whole_files_of_selections(series)
    repo = base.repository(series.base)
    tip, version = commit_series(repo, series, BUILD_IDENT)
    if series.selection(version):
        check_selection(series, repo, tip, version)
        return

    def differs(path, data, _executable):
        if path.suffix == ".patch" and path.parent == series.dir:
            path = series.file(path.name, version)
        if not path.is_file() or without_positions(path.read_bytes()) != without_positions(data):
            raise Failure(f"{path} is not what an export of the applied series gives; "
                          "run 'make tree export' and commit the difference", 1)

    def stale(path):
        raise Failure(f"{path} is not part of the exported series; delete it", 1)

    export_to(series, repo, start(repo, series, version), tip, differs, stale)
    print(f"{series.name}: {len(series.order())} patches, {len(seen)} whole files, "
          f"apply to {version} and export back unchanged")


def sender():
    found = []
    for key in ("user.name", "user.email"):
        with process.child(["git", "config", key], stdout=subprocess.PIPE,
                           encoding="utf-8") as proc:
            value = proc.communicate()[0].strip()
        if not value:
            raise Failure(f"git has no {key}; set it with 'git config --global {key} ...'")
        found.append(value)
    return (*found, None)


COVER = "cover-letter.patch"    # not 0000-...: `git am 0*.patch` must not take it


def empty_mail_folder(dest):
    """Remove the mails of an earlier run, and nothing else: it left a cover letter."""
    if dest.is_dir():
        others = [p for p in dest.iterdir() if not p.is_file()
                  or p.name != COVER and not re.fullmatch(r"\d{4}-.*\.patch", p.name)]
        # in OUT all is ours, with what a killed run has left; elsewhere a person's
        # own mails have such names too
        if not others and not (dest / COVER).exists() and (
                host.out() not in dest.absolute().parents):
            others = list(dest.iterdir())
        if others:
            raise Failure(f"{others[0]} is no mail of ours; give --output a folder of its own")
        for old in dest.iterdir():
            old.unlink()
    dest.mkdir(parents=True, exist_ok=True)


def cmd_mbox(series, opts):
    repo = base.repository(series.base)
    ident = BUILD_IDENT if opts.anonymous else sender()
    tip, version = commit_series(repo, series, ident)
    dest = pathlib.Path(opts.output or host.claim_out() / "mbox" / series.name)
    empty_mail_folder(dest)
    known = git(repo, "rev-parse", "refs/tags/base").strip()
    # a person's format.* settings are for other mails
    git(repo, "format-patch", "-q", "-s", "--cover-letter", "--no-renames", "--no-attach",
        "--suffix=.patch", "--src-prefix=a/", "--dst-prefix=b/", "--no-color",
        f"--subject-prefix={series.prefix}", f"--base={known}", "-o", dest.resolve(),
        f"{start(repo, series, version)}..{tip}", env=ident_env(ident))
    cover = dest / "0000-cover-letter.patch"
    subject, _, body = (series.dir / "cover").read_text(encoding="utf-8").partition("\n")
    text = cover.read_text(encoding="utf-8").replace("*** SUBJECT HERE ***", subject)
    (dest / COVER).write_text(text.replace("*** BLURB HERE ***", body.strip("\n")),
                              encoding="utf-8")
    cover.unlink()
    print(f"{len(list(dest.glob('0*.patch')))} mails and {COVER} for {version} in {dest}")


def rejected(tree, patch, name):
    """Apply what fits of a patch to the work tree; returns the files with the rest."""
    with process.child(["git", "-C", tree, "apply", "--reject", "--whitespace=nowarn", "-"],
                       stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                       encoding="utf-8") as proc:
        proc.communicate(patch.diff)
    found = [tree / f"{path}.rej" for path in hooked(patch) if (tree / f"{path}.rej").exists()]
    if not found:
        # git gives up altogether where a file is missing
        found = [tree / f"{name}.rej"]
        found[0].write_text(patch.diff, encoding="utf-8")
    return found


def hooked(patch):
    return re.findall(r"^\+\+\+ b/(.*)$", patch.diff, re.M)


def stop_at(series, tree, misfit, name, version):
    """Leave the tree at the patch that does not fit, with what fits of it."""
    git(tree, "checkout", "-q", "-f", "-B", "iopf", misfit.commit)
    patch = Patch.read(series, series.file(name, version))
    files = rejected(tree, patch, name)
    for path in patch.adds:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(series.here(path), tree / path)
    (tree / ".git/iopf-message").write_text(patch.message(), encoding="utf-8")
    (tree / ".git/iopf-paths").write_text("".join(
        f"{path}\n" for path in [*hooked(patch), *patch.adds]), encoding="utf-8")
    lines = "\n".join(f"    {file}" for file in files)
    raise Failure(f"{name} stops at {version}; put into the files what these say, delete them, "
                  f"and call 'scripts/series rebase {series.name}' again:\n{lines}", 1)


def take_mended(series, tree):
    """Commit the patch that a person has mended by hand."""
    left = [p for p in tree.rglob("*.rej") if ".git" not in p.relative_to(tree).parts]
    if left:
        raise Failure(f"{left[0]} is still there; put into the file what it says and delete it, "
                      f"then call 'scripts/series rebase {series.name}' again", 1)
    note, listed = tree / ".git/iopf-message", tree / ".git/iopf-paths"
    for path in listed.read_text(encoding="utf-8").splitlines():
        if (tree / path).exists():
            git(tree, "add", "-f", "--", path)
    git(tree, "add", "-u")
    git(tree, "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "--no-gpg-sign",
        "-F", note, env=ident_env(BUILD_IDENT))
    note.unlink()
    listed.unlink()


def cmd_rebase(series, _opts):
    """Put the series on a base that it does not fit, with a person's help."""
    with lock.of_out(f"rebases {series.tree}"):
        repo, tree = base.repository(series.base), series.tree
        version = base.version(repo, series.base)
        first = start(repo, series, version)
        mark = tree / ".git/iopf-rebase"
        base.shared_clone(repo, tree)
        if mark.exists() and mark.read_text().strip() == first:
            if (tree / ".git/iopf-message").exists():
                take_mended(series, tree)
        else:
            if has_work(tree):
                raise Failure(f"{tree} has work that is not exported; "
                              f"'scripts/series export {series.name}' keeps it, "
                              f"'rm -rf {tree}' drops it")
            git(tree, "checkout", "-q", "-f", "-B", "iopf", first)
            (tree / ".git/iopf-tip").write_text(f"{first}\n")
            mark.write_text(f"{first}\n")
        done = int(git(tree, "rev-list", "--count", f"{first}..HEAD"))
        order = series.order(version)
        left = order[done:]
        try:
            tip = commit_patches(tree, series, left, git(tree, "rev-parse", "HEAD").strip(),
                                 version, BUILD_IDENT)
        except Misfit as misfit:
            done = int(git(tree, "rev-list", "--count", f"{first}..{misfit.commit}"))
            stop_at(series, tree, misfit, order[done], version)
        git(tree, "checkout", "-q", "-f", "-B", "iopf", tip)
        mark.unlink()
    print(f"{tree}: all {len(order)} patches are on {version}; "
          f"'scripts/series export {series.name}' makes them the series, with "
          "'--variant VERSION' only for bases older than VERSION, with '--since VERSION' "
          "those for VERSION and later")


def cmd_log(series, _opts):
    for name in series.order():
        patch = Patch.read(series, series.dir / name)
        print(f"{name[:2]} {patch.subject}")
        for path in patch.adds:
            print(f"     + {path}")
        for path in re.findall(r"^\+\+\+ b/(.*)$", patch.diff, re.M):
            print(f"     ~ {path}")


def main():
    commands = {name[4:]: func for name, func in globals().items() if name.startswith("cmd_")}
    parser = Parser(prog="series", description=__doc__)
    parser.add_argument("command", choices=sorted(commands))
    parser.add_argument("series", choices=sorted(SERIES))
    parser.add_argument("--tree", help="export: the tree to read (default out/NAME)")
    parser.add_argument("--variant", metavar="VERSION",
                        help="export: only the hooks that differ on bases before VERSION")
    parser.add_argument("--since", metavar="VERSION",
                        help="export: the patches for bases from VERSION on")
    parser.add_argument("--output", help="mbox: the folder to write")
    parser.add_argument("--anonymous", action="store_true",
                        help="mbox: a fixed sender instead of your git identity (for checks)")
    opts = parser.parse_args()
    commands[opts.command](SERIES[opts.series], opts)

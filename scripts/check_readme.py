# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Runs the commands that the README prints, in a sandbox.

A block of commands that is run stands below a line `<!-- test: NAME -->`; NAME
is a function of COMMANDS here, which gets the commands as they are printed and
a Sandbox: a clone of this repository as it is on the disk, an out/ of its own,
and the cache of everybody. What a sandbox is no place for is in ELSEWHERE, with
the test that runs it. A command that is in neither is a failure.
"""

import pathlib
import re
import shutil
import subprocess

from iopf import base, host, process
from iopf.errors import Failure
from iopf.host import REPO
from iopf.patches import SERIES, patched_paths

MARK = re.compile(r"^<!-- test: ([\w-]+) -->$")


def blocks(text):
    """{name: [command, ...]} of the marked blocks, without their comments."""
    found, lines = {}, text.splitlines()
    for number, line in enumerate(lines):
        mark = MARK.match(line.strip())
        if not mark:
            continue
        if mark[1] in found:
            raise Failure(f"README.md line {number + 1}: a second block {mark[1]}", 1)
        found[mark[1]] = commands(lines[number + 1:])
        if not found[mark[1]]:
            raise Failure(f"README.md line {number + 1}: no commands below the mark", 1)
    return found


def commands(lines):
    """The indented or fenced commands that begin a text, without comments."""
    found, fenced = [], False
    for line in lines:
        if line.startswith("```"):
            if fenced:
                break
            fenced = True
        elif fenced or line.startswith(("    ", "\t")):
            found.append(re.sub(r"\s+#.*", "", line).strip())
        elif line.strip() or found:
            break
    return [line for line in found if line and not line.startswith("#")]


def all_commands(text):
    """[(line number, command)] of every block of commands, marked or not."""
    found, lines = [], text.splitlines()
    for number, line in enumerate(lines):
        begins = line.startswith(("    ", "\t", "```"))
        if begins and (not number or not lines[number - 1].strip()):
            found += [(number + 1, command) for command in commands(lines[number:])]
    return found


class Sandbox:
    """Where the commands run, and what they printed."""

    def __init__(self, top, log):
        self.top, self.log = top, log
        self.clone = top / "linux-iopf"
        self.home = top / "home"
        self.text = ""

    def make(self):
        """A clone as a person has it, with the changes that are not committed yet."""
        shutil.rmtree(self.top, ignore_errors=True)
        self.home.mkdir(parents=True)
        listed = process.run(["git", "-C", REPO, "ls-files", "-co", "--exclude-standard", "-z"])
        process.run(["git", "init", "-q", self.clone])
        for name in filter(None, listed.split("\0")):
            if (REPO / name).is_symlink() or (REPO / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPO / name, self.clone / name, follow_symlinks=False)
        (self.home / ".gitconfig").write_text("[user]\n\tname = A Reader\n"
                                              "\temail = reader@localhost\n")

    def environment(self):
        env = process.build_env()
        return {**env, "HOME": str(self.home), "IOPF_CACHE": str(host.cache()), "OFFLINE": "1"}

    def run(self, command, cwd=None):
        """Run a line of the README; it must succeed. Returns what it printed."""
        with process.child(["sh", "-ec", command], self.environment(), cwd=cwd or self.clone,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, encoding="utf-8",
                           errors="replace") as proc:
            said = proc.communicate()[0]
        with open(self.log, "a", encoding="utf-8") as out:
            out.write(f"$ {command}\n{said}")
        if proc.returncode:
            last = (said.strip().splitlines() or [f"exit status {proc.returncode}"])[-1]
            raise Failure(f"README: '{command}' fails: {last}", 1)
        return said

    def linux(self, paths):
        """your-linux-6.12: of the base the files that are wanted, as a git tree.

        All of them would be ninety thousand, which git am looks at for each patch.
        """
        tree = self.top / "your-linux-6.12"
        repo = base.repository("linux")
        known = process.run(["git", "-C", repo, "ls-tree", "-r", "--name-only", "refs/tags/base",
                             "--", *paths]).splitlines()
        tree.mkdir()
        process.run(["git", "-C", repo, "archive", "-o", self.top / "linux.tar",
                     "refs/tags/base", *known])
        process.run(["tar", "-C", tree, "-xf", self.top / "linux.tar"])
        git = ["git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@localhost"]
        for args in (["init", "-q"], ["add", "-f", "."], ["commit", "-q", "-m", "base"],
                     ["tag", "base"]):
            process.run([*git, *args])
        return tree


def expect(said, pattern, command):
    if not re.search(pattern, said, re.M):
        raise Failure(f"README: '{command}' does not print /{pattern}/", 1)


def test_lists(lines, box):
    """Commands that only print something."""
    for line in lines:
        said = box.run(line)
        if line.startswith("make lanes-list"):
            expect(said, r"^vtd +demo ", line)
        else:
            expect(said, r"make run", line)


def test_mbox(lines, box):
    """The mails, and how somebody puts them on a kernel of their own."""
    tree = box.linux([*patched_paths("linux"), "scripts/kconfig", "arch/x86/configs", "Makefile"])
    cwd = box.clone
    for line in lines:
        line = line.replace("your-linux-6.12", str(tree)).replace(".../out", f"{box.clone}/out")
        line = re.sub(r"(?<![\w./])\.\.\./", f"{box.clone}/", line)
        if "merge_config" in line:
            (tree / ".config").touch()
            # the configuration alone: what it makes of it wants a whole tree
            line = line.replace("merge_config.sh ", "merge_config.sh -m ")
        said = box.run(line, cwd)
        moved = re.match(r"cd (\S+)", line)
        if moved:
            cwd = pathlib.Path(moved[1])
        if line.startswith("make mbox"):
            expect(said, r"^\d+ mails", line)
        if "git am" in line:
            check_applied(tree)
        if "merge_config" in line:
            expect((tree / ".config").read_text(), r"^CONFIG_INTEL_IOMMU=y", line)


def check_applied(tree):
    """Every patch of the series is a commit, by the reader."""
    count = process.run(["git", "-C", tree, "rev-list", "--count", "refs/tags/base..HEAD"])
    if int(count) != len(SERIES["linux"].order()):
        raise Failure(f"README: git am made {count.strip()} commits of "
                      f"{len(SERIES['linux'].order())} patches", 1)


def test_series_check(lines, box):
    for line in lines:
        expect(box.run(line), r"export back unchanged", line)


# name in the README -> what runs the block; one without the other is a failure
COMMANDS = {"lists": test_lists, "mbox": test_mbox, "series-check": test_series_check}

# command in the README -> (file, what in it shows that it runs the command)
ELSEWHERE = {
    "make run": ("scripts/iopf/fresh.py", "readme_line("),
    "make check": (".ci/run", "make --no-print-directory check"),
    "make deb && sudo apt install ./out/deb/iopf_*.deb ./out/deb/libiopf1_*.deb":
        ("scripts/deb-test", "./iopf_*.deb ./libiopf1_*.deb"),
    "sudo make -C tools/iommu install": ("tools/iommu/check-lib.sh", "install_root"),
    "iopf probe 0000:3a:00.0":
        ("tools/testing/selftests/iommu/iopf_program.c", 'WORDS("probe", bdf)'),
    "iopf serve 0000:3a:00.0":
        ("tools/testing/selftests/iommu/iopf_program.c", 'WORDS("serve", ##__VA_ARGS__, bdf)'),
    # takes hours, so only its parts are tested, and that by hand what comes out boots
    "make deb-kernel": ("scripts/test_kernel_deb.py", "class Configuration"),
    "sudo apt install ./out/deb/linux-image-*iopf*.deb":
        ("scripts/test_kernel_deb.py", "test_packages"),
}


def uncovered(text):
    """What no test runs, or an entry above that is no longer so; a line each."""
    listed = all_commands(text)
    printed = {command for _, command in listed}
    marked = {command for lines in blocks(text).values() for command in lines}
    for number, command in listed:
        if command not in marked and command not in ELSEWHERE:
            yield (f"README.md line {number}: no test runs '{command}'; mark its block with "
                   "<!-- test: NAME -->, or say in scripts/check_readme.py which test does")
    for command, (file, words) in ELSEWHERE.items():
        if command not in printed:
            yield f"scripts/check_readme.py knows '{command}', which is not in README.md"
        if words not in (REPO / file).read_text(encoding="utf-8"):
            yield f"{file} has no '{words}', by which it would run '{command}' of README.md"


def match(found):
    """Marks without a function, and functions without a mark, are both faults."""
    for name in found:
        if name not in COMMANDS:
            raise Failure(f"README.md has a block {name}, and scripts/check_readme.py no such "
                          f"test; there are {' '.join(COMMANDS)}", 1)
    for name in COMMANDS:
        if name not in found:
            raise Failure(f"scripts/check_readme.py has a test {name}, and README.md no line "
                          f"'<!-- test: {name} -->'", 1)


def check(log):
    text = (REPO / "README.md").read_text(encoding="utf-8")
    found = blocks(text)
    match(found)
    for fault in uncovered(text):
        raise Failure(fault, 1)
    box = Sandbox(host.out() / "check/readme", log)
    box.make()
    for name, lines in found.items():
        COMMANDS[name](lines, box)
    shutil.rmtree(box.top, ignore_errors=True)



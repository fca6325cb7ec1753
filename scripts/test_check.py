# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Kept results are of this machine; the sum tells them from fresh ones; results as files."""

import contextlib
import errno
import io
import json
import os
import re
import unittest
from unittest import mock
import xml.etree.ElementTree as xml

from testing import SCRIPTS, Sandboxed
import check_readme
from iopf import (check, checks, errors, fresh, host, lanes, model_mutants, packages,
                  process, results)
from iopf.errors import Failure
from iopf.results import Result
from iopf.testbed import Count, lanefile


class PatchBuilds(Sandboxed):
    """A patch whose tree was built before is not built again."""

    FILES = [("drivers/a.c", "1"), ("drivers/b.c", "1"), ("Documentation/c.rst", "1"),
             ("drivers/d.c", "1")]

    def setUp(self):
        super().setUp()
        self.built, self.tool = [], "gcc 1"
        self.patch(packages, "versions", lambda names: [self.tool])
        self.patch(checks, "write_fragment", lambda work, arch: self.top / "config")
        self.patch(checks, "logged", self.logged)
        self.patch(checks.build, "build_env", lambda: {})
        self.patch(checks.base, "scratch_checkout", lambda repo, tree, commit: None)
        (self.top / "config").write_text("CONFIG_X=y\n")

    def logged(self, argv, _log, what=None, **_kw):
        if what:
            self.built.append(re.search("'(.*)'", what)[1])

    def build(self, files):
        """The titles of the patches that are built of a series that adds these files."""
        repo = self.top / f"repo{len(list(self.top.glob('repo*')))}"
        git = ["git", "-C", repo, "-c", "user.name=a", "-c", "user.email=a@b"]
        process.run(["git", "init", "-q", repo])
        process.run([*git, "commit", "-q", "--allow-empty", "-m", "base"])
        process.run([*git, "tag", "base"])
        for name, text in files:
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_text(text)
            process.run([*git, "add", name])
            process.run([*git, "commit", "-q", "-m", name])
        self.built = []
        checks.build_patches(repo, "HEAD", self.top, self.top, "x86", self.top / "log")
        return self.built

    def test_kept(self):
        code = [name for name, _ in self.FILES if name.startswith("drivers")]
        self.assertEqual(self.build(self.FILES), code)
        self.assertEqual(self.build(self.FILES), [])
        page = [(name, "2" if name.endswith(".rst") else text) for name, text in self.FILES]
        self.assertEqual(self.build(page), [])

    def test_what_stands_behind_a_change(self):
        self.build(self.FILES)
        second = [(name, "2" if name == "drivers/b.c" else text) for name, text in self.FILES]
        self.assertEqual(self.build(second), ["drivers/b.c", "drivers/d.c"])

    def test_key(self):
        """Compiler, configuration, and the user who forces it."""
        for change in (lambda: setattr(self, "tool", "gcc 2"),
                       lambda: (self.top / "config").write_text("CONFIG_Y=y\n"),
                       lambda: os.environ.update(FORCE="1")):
            self.build(self.FILES)
            change()
            self.assertEqual(len(self.build(self.FILES)), 3)

    def test_failure_is_not_kept(self):
        def fails(argv, _log, what=None, **_kw):
            if what:
                raise Failure("no", 1)

        self.patch(checks, "logged", fails)
        with self.assertRaises(Failure):
            self.build(self.FILES)
        self.patch(checks, "logged", self.logged)
        self.assertEqual(len(self.build(self.FILES)), 3)


class Keeping(Sandboxed):
    def setUp(self):
        super().setUp()
        self.calls, self.content, self.tool = 0, "1", "sparse 1"
        self.result = Count(1)
        self.patch(packages, "versions", lambda names: [self.tool, *sorted(names)])
        self.check = checks.Check("group", "a check", lambda: self.content, self.func, ("sparse",))
        os.environ["FORCE"] = ""

    def func(self, log):
        self.calls += 1
        log.write_text("log\n")
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def run_check(self):
        self.said = io.StringIO()
        with contextlib.redirect_stdout(self.said):
            return check.run_check("[1/1] a check", self.check)

    def test_kept(self):
        first, second = self.run_check(), self.run_check()
        self.assertEqual((first.kept, second.kept, self.calls), (False, True, 1))
        self.assertEqual((first.word(), second.word()), ("passed", "passed (kept)"))
        self.assertIn("passed (kept", self.said.getvalue())

    def test_count_is_kept(self):
        self.result = Count(7, 0, 2)
        self.run_check()
        self.assertEqual(self.run_check().word(), "7 passed, 0 failed, 2 skipped (kept)")

    def test_key(self):
        """Content, versions, the list of what runs, and the system each count."""
        self.run_check()
        for name, value in (("content", "2"), ("tool", "sparse 2"),
                            ("check", self.check._replace(packages=("spatch",)))):
            setattr(self, name, value)
            self.assertFalse(self.run_check().kept, name)
            self.assertTrue(self.run_check().kept, name)
        self.patch(checks.build, "os_release", lambda key: "Another GNU/Linux 1")
        self.assertFalse(self.run_check().kept)

    def test_forced(self):
        self.run_check()
        os.environ["FORCE"] = "1"
        self.assertFalse(self.run_check().kept)

    def test_failure_is_not_kept(self):
        for failure in (errors.Failure("bad", 1), OSError(28, "No space left on device", "/x"),
                        SyntaxError("x")):
            self.result = failure
            self.assertTrue(self.run_check().count.failed)
            self.assertIn("FAILED", self.said.getvalue())
        self.result = Count(1)
        self.assertFalse(self.run_check().kept)

    def test_without_a_key(self):
        """What it depends on is not known here: it always runs."""
        self.check = self.check._replace(key=None)
        self.run_check()
        self.assertFalse(self.run_check().kept)
        self.assertEqual(self.calls, 2)

    def test_skipped(self):
        self.result = fresh.Skip("not here")
        result = self.run_check()
        self.assertEqual((result.count.skipped, result.count.failed, result.text),
                         (1, 0, "not here"))
        self.assertFalse(self.run_check().kept)
        self.assertEqual(self.calls, 2)

    def test_damaged_keeping(self):
        self.run_check()
        file, = (self.cache / "check").iterdir()
        for text in ("", "1 pass", "0 passed, 0 failed\n", "1 passed, 1 failed\n"):
            file.write_text(text)
            self.assertFalse(self.run_check().kept)

    def test_every_check_names_what_runs(self):
        for each in checks.CHECKS:
            self.assertIsInstance(each, checks.Check)
        used = {name for each in checks.CHECKS for name in each.packages}
        self.assertLessEqual(set(packages.CHECKS), used)
        # and a new machine gets all of it; apt and dpkg are what it gets it with
        there = {*packages.BUILD, *packages.CHECKS, *packages.CROSS["arm64"],
                 *packages.INSTEAD.values(), "apt", "dpkg"}
        for each in checks.CHECKS:
            if each.group != "deb":         # installs its own
                self.assertEqual(set(each.packages) - there, set(), each.title)


class Table(Sandboxed):
    def test_closing_line_is_alone(self):
        done = [Result("a", "one", Count(1), kept=True), Result("b", "two", Count(3, 0, 1), 61),
                Result("c", "three", Count(0, 1), 5, text="why")]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            total = check.table(done)
        said = out.getvalue()
        self.assertRegex(said, r"one +passed \(kept\)\n")
        self.assertRegex(said, r"two +1m01s  3 passed, 0 failed, 1 skipped\n")
        self.assertRegex(said, r"three +0m05s  FAILED\n")
        self.assertIn("2 of 3 ran now", said)
        self.assertEqual(str(total), "4 passed, 1 failed, 1 skipped")
        self.assertTrue(said.endswith("kept\nfailed: three: why\n"), said)

    def test_not_all_complaints(self):
        done = [Result("a", f"check {n}", Count(0, 1), text="bad\n" + "x" * 999)
                for n in range(check.COMPLAINTS + 2)]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            check.table(done)
        self.assertTrue(out.getvalue().endswith(": bad\nfailed: 2 more\n"), out.getvalue())


LANE = r"""#!/usr/bin/env python3
import os, sys
print("ok 1 test")
print(os.environ.get("SUM", "2 passed, 0 failed, 1 skipped"))
if "--junit" in sys.argv:
    open(sys.argv[sys.argv.index("--junit") + 1], "w").write('''<testsuites><testsuite name="vtd">
<testcase classname="vtd" name="a" time="1.5"/><testcase classname="vtd" name="b" time="2"/>
<testcase classname="vtd" name="c" time="0"><skipped message="no"/></testcase>
''' + os.environ.get("MORE", "") + '''</testsuite></testsuites>''')
sys.exit(int(os.environ.get("STATUS", "0")))
"""


class Files(Sandboxed):
    def setUp(self):
        super().setUp()
        self.lane = self.top / "lane"
        self.lane.write_text(LANE)
        self.lane.chmod(0o755)

        self.products = {"vtd": self.product("k/1"), "amd": self.product("k/2")}

        def call(command, _wanted, options, products):
            self.called = list(products)
            return [self.lane, command, *options]
        self.patch(lanes, "lane_call", call)
        self.patch(lanes, "build_wanted", lambda names: dict(self.products))

    def product(self, place):
        return (self.cache / place / "bzImage", self.cache / "q/1/qemu", self.cache / "g/1/i", None,
                None, None)

    def boot(self, **env):
        os.environ.update(env)
        with contextlib.redirect_stdout(io.StringIO()):
            *self.kept, result = check.boot("run")
            return result

    def write(self, done):
        for path, write in ((self.top / "r.xml", results.write_junit),
                            (self.top / "r.json", results.write_json)):
            write(path, done)
        return xml.parse(self.top / "r.xml").getroot(), json.loads(
            (self.top / "r.json").read_text())

    def test_merged(self):
        done = [Result("scripts", "python", Count(1), 2.0), Result("k", "cc", Count(1), kept=True),
                Result("qemu", "tests", Count(0, 1), 5, text="bad \x01 <&", log="/l"), self.boot()]
        tree, data = self.write(done)
        self.assertEqual([s.get("name") for s in tree], ["checks", "vtd"])
        self.assertEqual((tree.get("tests"), tree.get("failures"), tree.get("skipped")),
                         ("6", "1", "1"))
        failure = tree.find(".//failure")
        self.assertEqual(failure.get("message"), "bad ? <&")
        self.assertEqual((data["passed"], data["failed"], data["skipped"]), (4, 1, 1))
        names = {case["name"]: case for case in data["tests"]}
        self.assertEqual(set(names), {"python", "cc", "tests", "a", "b", "c"})
        self.assertTrue(names["cc"]["kept"])
        self.assertEqual(names["c"]["result"], "skipped")
        self.assertEqual(names["tests"]["message"], "bad ? <&")

    def test_broken_testbed_is_a_failed_case(self):
        for env in ({"STATUS": "2"}, {"STATUS": "0", "SUM": "nothing"}):
            result = self.boot(**env)
            self.assertEqual(str(result.count), "0 passed, 1 failed")
            self.assertEqual(check.exit_status([result]), 2)
            tree, _ = self.write([result])
            self.assertIn("testbed is broken", tree.find(".//failure").get("message"))

    def test_failed_case_is_named(self):
        result = self.boot(STATUS="1", SUM="2 passed, 1 failed", MORE=(
            "<testcase name='splat'><failure message='BUG: KASAN&#10;of /x'/></testcase>"))
        self.assertEqual(results.failures(result), ["vtd: splat: BUG: KASAN"])
        self.assertEqual(results.failures(self.boot(STATUS="0", SUM="2 passed, 0 failed")), [])

    def test_status_without_a_failure_counted(self):
        result = self.boot(STATUS="1")
        self.assertEqual(results.failures(result), [f"run: {result.count}"])
        self.assertEqual(result.count.failed, 1)
        self.assertEqual(check.exit_status([result]), 1)

    def test_lane_that_passed_is_kept(self):
        self.boot()
        self.assertEqual((self.called, self.kept), (["vtd", "amd"], []))
        self.boot()
        self.assertEqual(self.called, ["amd"])
        self.assertEqual([(r.title, r.kept, str(r.count)) for r in self.kept],
                         [("vtd", True, "2 passed, 0 failed, 1 skipped")])
        self.products["vtd"] = self.product("k/3")
        self.boot()
        self.assertEqual(self.called, ["vtd", "amd"])
        os.environ["FORCE"] = "1"
        self.boot()
        self.assertEqual(self.called, ["vtd", "amd"])

    def test_nothing_left_to_boot(self):
        del self.products["amd"]
        self.boot()
        self.called = None
        result = self.boot()
        self.assertEqual((self.called, result.kept, result.title), (None, True, "vtd"))

    def test_lane_that_is_not_kept(self):
        failure = "<testcase name='splat'><failure message='BUG'/></testcase>"
        for env in ({"STATUS": "1", "SUM": "2 passed, 1 failed, 1 skipped", "MORE": failure},
                    {"SUM": "3 passed, 0 failed", "MORE": ""},      # not what the suites say
                    {"STATUS": "2"}):
            self.boot(**env)
            self.assertEqual(self.kept, [], env)
            for name in env:
                del os.environ[name]
        self.products = {"vtd": lanes.Absent("not to be had"), "amd": self.product("../k/2")}
        self.boot()
        self.boot()
        self.assertEqual(self.called, ["vtd", "amd"])

    def test_what_a_lane_depends_on(self):
        def key():
            return checks.lane_key("vtd", self.product("k/1"))
        first = key()
        self.assertEqual(key(), first)
        self.assertNotEqual(checks.lane_key("amd", self.product("k/1")), first)
        for where, name, value in ((lanefile, "load", lambda name: "another plan"),
                                   (checks, "testbed_sources", lambda: []),
                                   (checks, "machine_key", lambda names: "newer")):
            with mock.patch.object(where, name, value):
                self.assertNotEqual(key(), first, name)
        with mock.patch.dict(os.environ, {"KVM": "1"}):
            self.assertNotEqual(key(), first)

    def test_exit_status(self):
        def run(error):
            def func(_log):
                raise error
            with contextlib.redirect_stdout(io.StringIO()):
                return check.run_check("x", checks.Check("a", "t", None, func, ()))
        passed = Result("a", "one", Count(1))
        self.assertEqual(check.exit_status([passed]), 0)
        for error, status in ((Failure("bad", 1), 1), (Failure("make failed"), 1),
                              (Failure(f"make failed: {os.strerror(errno.ENOSPC)}"), 2),
                              (PermissionError(errno.EACCES, "no", "out"), 2)):
            self.assertEqual(check.exit_status([passed, run(error), passed]), status, error)


class Room(Sandboxed):
    def said(self, free, names):
        self.patch(check.shutil, "disk_usage", lambda path: mock.Mock(free=free))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            check.tell_room(names)
        return said.getvalue()

    def test_little(self):
        self.assertIn("7.0 GB are free", self.said(7 * 10**9, ["series", "fresh"]))
        self.assertEqual(self.said(7 * 10**9, ["series"]), "")
        self.assertEqual(self.said(check.ROOM, ["fresh"]), "")


class Boot(Sandboxed):
    def test_call_of_the_real_runner(self):
        self.patch(lanes, "build_lanes", dict.fromkeys)
        self.patch(lanes, "machine_options", lambda products: [])
        self.patch(checks, "lane_key", lambda name, product: None)
        self.patch(host, "claim_out", lambda: self.top)
        calls = []

        def count(_command, call):
            calls.append(call)
            return Count(1), 0
        self.patch(check, "count_lines", count)
        for command in ("run", "selfcheck"):
            result, = check.boot(command)
            self.assertEqual(str(result.count), "1 passed, 0 failed")
            call = calls.pop()
            self.assertEqual(call[1], command)
            self.assertIn("--at-once", call)
            self.assertIn("--junit", call)
            self.assertNotIn("--only", call)

    def test_no_empty_results(self):
        path = self.top / "r.json"
        self.assertEqual(lanes.writable(path, "JSON"), str(path))
        self.assertFalse(path.exists())

    def test_runner_that_is_killed(self):
        self.patch(lanes, "lane_command", lambda *args: ["sh", "-c", "kill -9 $$"])
        with self.assertRaisesRegex(errors.Failure, "killed by signal 9"):
            lanes.boot("run", [], None)


class Readme(Sandboxed):
    def test_blocks(self):
        text = ("x\n<!-- test: a -->\n\n    make a   # why\n    # note\n    make b\n\nend\n"
                "<!-- test: b -->\n```\nmake c\n```\n    make d\n")
        self.assertEqual(check_readme.blocks(text), {"a": ["make a", "make b"], "b": ["make c"]})

    def test_mark_without_commands_or_twice(self):
        for text in ("<!-- test: a -->\nwords\n", "<!-- test: a -->\n",
                     "<!-- test: a -->\n    x\n<!-- test: a -->\n    x\n"):
            self.assertRaises(errors.Failure, check_readme.blocks, text)

    def test_marks_and_functions_match(self):
        good = {name: ["x"] for name in check_readme.COMMANDS}
        check_readme.match(good)
        self.assertRaisesRegex(errors.Failure, "no such test", check_readme.match,
                               {**good, "new": ["x"]})
        del good["mbox"]
        self.assertRaisesRegex(errors.Failure, "test: mbox", check_readme.match, good)

    def test_every_command_has_a_test(self):
        text = (host.REPO / "README.md").read_text(encoding="utf-8")
        self.assertEqual(list(check_readme.uncovered(text)), [])
        more = f"{text}\n    make nothing    # why\n"
        self.assertRegex(" ".join(check_readme.uncovered(more)), "no test runs 'make nothing'")
        less = text.replace("    make run ", "    make  ")
        self.assertRegex(" ".join(check_readme.uncovered(less)), "'make run', which is not")
        self.patch(check_readme, "ELSEWHERE", {"make run": ("README.md", "not in " + "there")})
        self.assertRegex(" ".join(check_readme.uncovered(text)), "README.md has no 'not in there'")

    def test_command_that_fails(self):
        (self.top / "home").mkdir()
        (self.top / "linux-iopf").mkdir()
        box = check_readme.Sandbox(self.top, self.top / "log")
        self.assertEqual(box.run("echo fine"), "fine\n")
        self.assertRaisesRegex(errors.Failure, "'echo bad; exit 1' fails: bad", box.run,
                               "echo bad; exit 1")


class Make(Sandboxed):
    """What make hands to the scripts."""

    def printed(self, *args):
        status, said = self.command(["make", "-n", "--no-print-directory", "-C", SCRIPTS.parent,
                                     *args])
        self.assertEqual(status, 0, said)
        return " ".join(said.split())

    def test_variables(self):
        for args, line in (
                (["check", "CHECKS=user series"], "scripts/check 'user' 'series'"),
                (["check"], "scripts/check"), (["run"], "scripts/build demo 'vtd'"),
                (["run", "LANE=all"], "scripts/build demo 'all'"),
                (["run", "LANE=amd", "DEMO=viommu"], "scripts/build demo 'amd' --demo='viommu'"),
                (["lanes", "LANES=vtd mock", "ONLY=iopf*", "LOAD=4", "REPEAT=30"],
                 r"scripts/build run 'vtd' 'mock' --only='iopf*' \ --load='4' --repeat='30' "
                 "\\"),
                (["lanes", "AT_ONCE=2"], "scripts/build run \\ \\ --at-once='2'"),
                (["mutants", "ONLY=a b", "AT_ONCE=3"],
                 "scripts/build mutants --only='a b' --at-once='3'"),
                (["selfcheck", "AT_ONCE=2"], "scripts/build selfcheck --at-once='2'"),
                (["bench", "ONLY=inv-* attach"], "scripts/build bench --only='inv-* attach'"),
                (["shell", "LANE=vtd", "FILE=a b"], "scripts/build shell 'vtd' --file='a b'"),
                (["lanes-list"], "scripts/build list"), (["cache"], "scripts/cache sizes"),
                (["cache-prune"], "scripts/cache prune"), (["clean"], "scripts/cache clean")):
            self.assertEqual(self.printed(*args), line)

    def test_words_of_the_shell(self):
        """What a person gives is a word, and neither a pattern nor a command."""
        for args, wanted in (
                (["run", "LANE=*"], "error: there is no lane *; there are"),
                (["run", "LANE=$$(id)"], "error: there is no lane $(id); there are"),
                (["run", "DEMO=it's"], "error: lane vtd has no demonstration it's; there is"),
                (["lanes", "LANES=it's"], "error: there is no lane it's; there are"),
                (["lanes", "LANES=vtd; id"], "error: there is no lane vtd;; there are"),
                (["lanes", "ONLY=it's", "LOAD=-1"], "error: LOAD=-1 is no number from 1 to"),
                (["lanes", "LOAD=1000000"], "error: LOAD=1000000 is no number from 1 to"),
                (["check", "CHECKS=?"], "error: there is no check ?; there are"),
                (["mutants", "ONLY='x"], "error: no mutant is called 'x; there are"),
                (["shell", "FILE=a'b"], "error: FILE=a'b is no file; name a program"),
                (["mutants-qemu", "MUTANTS=a'b"], f"error: no mutant in {model_mutants.FOLDER}"),
                (["kernel", "KERNEL=`id`"], "error: there is no kernel `id`; there are"),
                (["lanes", "JOBS=0"], "error: JOBS=0 is no number of jobs"),
                (["check", "JOBS=x"], "error: JOBS=x is no number of jobs"),
                (["nothing"], "error: there is no target 'nothing'; 'make help' lists them")):
            status, said = self.command(["make", "--no-print-directory", "-C", SCRIPTS.parent,
                                         *args])
            lines = [line for line in said.splitlines() if not line.startswith("make: ***")]
            self.assertEqual((status, len(lines)), (2, 1), said)
            self.assertTrue(lines[0].startswith(wanted), said)

    def test_every_target_is_told_of(self):
        status, said = self.command(["make", "-C", SCRIPTS.parent, "--no-print-directory", "help"])
        self.assertEqual(status, 0)
        text = (SCRIPTS.parent / "Makefile").read_text()
        phony = text.split(".PHONY:")[1].split("\n\n")[0].replace("\\", "").split()
        page = (host.REPO / "Documentation/testbed.md").read_text(encoding="utf-8")
        for name in set(phony) - {"help"}:
            self.assertRegex(said, rf"make (\w+\|)*{name}\b")
            self.assertRegex(page, rf"`make {name}\b")

    def test_every_group_and_setting_is_told_of(self):
        page = (host.REPO / "Documentation/testbed.md").read_text(encoding="utf-8")
        for name in check.groups():
            self.assertRegex(page, rf"\| .*`{name}`.*\|")
        text = (SCRIPTS.parent / "Makefile").read_text()
        for name in set(re.findall(r"\b([A-Z]+)=", text)) - {"LANE", "KERNEL", "ARCH"}:
            self.assertIn(f"{name}=", page)


class ForEach(unittest.TestCase):
    def test_each_once_whatever_its_name(self):
        items = [f"{n} 'a $b \"" for n in range(9)]
        said = checks.for_each(items, ["printf", "%s|\\n", "{}"], "/")
        self.assertEqual(sorted(said), [f"{item}|" for item in items])
        self.assertEqual(sorted(checks.for_each(["a", "b"], ["sh", "-c", "echo {}; exit 255"], "/")),
                         ["a", "b"])

    def test_tool_that_is_not_there(self):
        with self.assertRaisesRegex(Failure, "there is no no-such-tool here"):
            checks.for_each(["a", "b"], ["no-such-tool", "{}"], "/")

    def test_tool_that_is_killed(self):
        with self.assertRaisesRegex(Failure, "xargs ended with status 125"):
            checks.for_each(["a", "b"], ["sh", "-c", "kill -9 $PPID"], "/")


class Remarks(unittest.TestCase):
    """A remark of the base is the same one in the series, whatever its path and line."""

    def test_same_remark_from_either_tree(self):
        text = "drivers/iommu/intel/dmar.c:{}: warning: '%d' directive writes too much"
        said = [checks.plain_remark(top + text.format(line), tree, work)
                for top, line, tree, work in
                (("../linux-base/", "1074:35", "/o/check/linux-base", "/o/check/build-base"),
                 ("../../linux/", "1075:35", "/o/linux", "/o/check/build-series"),
                 ("/o/linux/", "9", "/o/linux", "/o/check/build-series"))]
        self.assertEqual(set(said), {text.replace(":{}", "")})


if __name__ == "__main__":
    unittest.main()

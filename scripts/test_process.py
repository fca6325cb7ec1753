# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""A command that is ended ends what it started; builds see one environment."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import unittest

from testing import Sandboxed, wait_for
from iopf import errors, host, process

# a make whose recipe starts two more processes, one of which is deaf to SIGTERM
MAKEFILE = """all:
\t@sh -c 'echo $$$$ >$(TOP)/child; exec sleep 1000' & \\
\t sh -c 'trap "" TERM; echo $$$$ >$(TOP)/deaf; while :; do sleep 1; done' & wait
"""
COMMAND = """
import pathlib, signal, sys
from iopf import errors, process
# nohup, or a shell in the background, may have had us ignore them
for signum in process.ENDING:
    signal.signal(signum, signal.SIG_DFL)
top = pathlib.Path(sys.argv[1])
process.GRACE = 1
sys.exit(errors.guard(lambda: process.logged(
    ["make", "-f", top / "Makefile", f"TOP={top}"], top / "log") and 0))
"""


class GitFiles(Sandboxed):
    def test_every_name(self):
        process.run(["git", "init", "-q", self.top])
        names = ["a", 'qu"ote', "smørrebrød", "two\nlines", "below/b"]
        for name in [*names, "left.o"]:
            (self.top / name).parent.mkdir(exist_ok=True)
            (self.top / name).write_text("")
        (self.top / ".gitignore").write_text("*.o\n")
        process.run(["git", "-C", self.top, "add", "a", "below"])
        self.assertEqual(process.git_files(self.top), sorted([*names, ".gitignore"]))
        self.assertEqual(process.git_files(self.top, "below"), ["below/b"])
        (self.top / "a").unlink()
        self.assertNotIn("a", process.git_files(self.top))


class Ending(Sandboxed):
    def start(self):
        (self.top / "Makefile").write_text(MAKEFILE)
        proc = subprocess.Popen([sys.executable, "-c", COMMAND, str(self.top)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.end, proc)
        files = [self.top / "child", self.top / "deaf"]
        wait_for(lambda: all(f.exists() and f.read_text().strip() for f in files), "the children")
        pids = [int(f.read_text()) for f in files]
        make = [p for p, (parent, _, _) in process.processes().items() if parent == proc.pid]
        self.assertTrue(make)
        return proc, pids + make

    def gone(self, pids):
        table = process.processes()
        return not [p for p in pids if p in table and table[p][2] not in "ZX"]

    def test_ended_by_each_signal(self):
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(signum=signum):
                for name in ("child", "deaf"):
                    (self.top / name).unlink(missing_ok=True)
                proc, pids = self.start()
                proc.send_signal(signum)
                said = proc.stdout.read()
                self.assertEqual(proc.wait(), 128 + signum)
                self.assertTrue(self.gone(pids), "a child goes on")
                self.assertEqual(len(said.strip().splitlines()), 1, said)
                self.assertIn(signum.name, said)

    def test_killed_outright(self):
        """Nobody can clean up then, but the kernel tells make, which starts nothing more."""
        proc, pids = self.start()
        proc.kill()
        proc.wait()
        wait_for(lambda: self.gone(pids[2:]), "the end of make")
        process.kill_all(pids[:2], signal.SIGKILL)

    def test_signal_while_the_lock_is_taken(self):
        with process.child(["sleep", "1000"]) as proc:
            proc._waitpid_lock.acquire()    # what a signal in wait() leaves
        self.assertEqual(proc.returncode, -signal.SIGTERM)

    def test_failure_in_the_block(self):
        with self.assertRaises(ZeroDivisionError):
            with process.child(["sleep", "1000"]) as proc:
                raise ZeroDivisionError
        self.assertIsNotNone(proc.returncode)


class Running(Sandboxed):
    def test_cause(self):
        for text, cause in (("a\nfatal: no such tree\nb\n", "no such tree"),
                            ("E: Unable to locate package x\n", "Unable to locate package x"),
                            ("error: y\ncc: No space left on device\n",
                             "cc: No space left on device"), ("last\n", "last"), ("", "")):
            self.assertEqual(process.cause(text), cause)

    def test_failed_command(self):
        with self.assertRaisesRegex(errors.Failure, "^sh -c .*: no luck$"):
            process.run(["sh", "-c", "echo no luck >&2; exit 3"])

    def test_log_is_named_and_full_disk_told(self):
        log = self.top / "log"
        with self.assertRaisesRegex(errors.Failure, f"status 3.*log {log}"):
            process.logged(["sh", "-c", "exit 3"], log, what="it")
        # said here, it would be taken for the cause when another test fails
        with contextlib.redirect_stdout(io.StringIO()), \
                self.assertRaisesRegex(errors.Failure, "No space left on device.*IOPF_CACHE=DIR"):
            process.logged(["sh", "-c", "echo 'x: No space left on device'; exit 1"], log)
        # that was the command before this one
        with self.assertRaisesRegex(errors.Failure, "status 1"):
            process.logged(["sh", "-c", "exit 1"], log)

    def test_git_says_no_cause(self):
        for said, words in (("error: unable to write file a", "a; is the disk full.*OUT=DIR"),
                            ("fatal: not a git repository (or any)", "; this takes a clone")):
            with self.assertRaisesRegex(errors.Failure, words):
                process.run(["sh", "-c", f"echo '{said}' >&2; exit 128"])

    def test_environment_of_builds(self):
        hostile = {"MAKEFLAGS": "-j2 -- Q=1 V=1", "CFLAGS": "-O0", "LANG": "de_DE", "ARCH": "arm",
                   "KBUILD_OUTPUT": "/x", "LOCALVERSION": "-x", "GIT_DIR": "/x", "Q": "1"}
        before = process.build_env()
        os.environ.update(hostile)
        self.addCleanup(lambda: [os.environ.pop(k, None) for k in hostile])
        self.assertEqual(process.build_env(), before)
        self.assertNotIn("MAKEFLAGS", process.plain_env())
        self.assertNotIn("GIT_DIR", process.plain_env())

    def test_no_variable_of_ours_in_the_builds_make(self):
        """`make Q=1` would put a 1 before each line of the kernel's recipes."""
        (self.top / "Makefile").write_text(
            f"all:\n\t@{sys.executable} -c 'from iopf import process; import pathlib; "
            "process.logged([\"make\", \"-f\", \"inner\"], pathlib.Path(\"log\"), "
            "env=process.build_env())'\n")
        (self.top / "inner").write_text("Q = @\nall:\n\t$(Q)echo fine\n")
        self.assertEqual(self.command(["make", "Q=1"], cwd=self.top), (0, ""))
        self.assertIn("\nfine\n", (self.top / "log").read_text())


class OneLine(Sandboxed):
    """Every failure is one line, with a status that tells test from testbed."""

    def said(self, error):
        def fail():
            raise error
        text = io.StringIO()
        handlers = [signal.getsignal(s) for s in process.ENDING]
        with contextlib.redirect_stderr(text):
            status = errors.guard(fail)
        for signum, handler in zip(process.ENDING, handlers):
            signal.signal(signum, handler)
        self.assertEqual(len(text.getvalue().splitlines()), 1)
        return status, text.getvalue()

    def test_kinds(self):
        for error, status, words in (
                (errors.Failure("a test", 1), 1, "a test"),
                (errors.Ended(signal.SIGINT), 130, "SIGINT"),
                (OSError(28, "No space left on device", "/x"), 2, "/x: No space.*free some space"),
                (PermissionError(13, "Permission denied", "/x"), 2, "/x: .*OUT=DIR"),
                (FileNotFoundError(2, "No such file", "gcc"), 2, "gcc: .*make deps"),
                (ValueError("x"), 2, "fault of the scripts themselves: ValueError.*report")):
            with self.subTest(error=error):
                got, text = self.said(error)
                self.assertEqual(got, status)
                self.assertRegex(text, words)

    def test_scripts(self):
        home = self.top / "closed"
        home.write_text("")
        for args, env, words in (
                (["build", "frob"], {}, "invalid choice: 'frob'.*demo"),
                (["build", "run", "nolane"], {}, "no lane nolane; there are .*vtd"),
                (["build", "demo", "mock"], {}, "mock has no demonstration.*vtd"),
                (["build", "demo"], {}, "wants one lane; there are .*vtd"),
                (["build", "demo", "vtd", "--demo", "viommu"], {},
                 "lane vtd has no demonstration viommu; there is LANE=amd DEMO=viommu"),
                (["build", "demo", "amd", "--demo", "nonsense"], {},
                 "lane amd has no demonstration nonsense; there is LANE=amd DEMO=viommu"),
                (["build", "demo", "nolane", "--demo", "viommu"], {}, "no lane nolane"),
                (["build", "run", "amd", "--demo", "viommu"], {}, "DEMO= is for 'make run'"),
                (["build", "path", "x"], {}, "no product x; there are kernel"),
                (["build", "path", "kernel", "x"], {}, "no kernel x; there are .*x86"),
                (["build", "run", "vtd", "--load", "x"], {}, "LOAD=x is no number"),
                (["build", "run", "vtd", "--file", "x"], {}, "FILE= is for 'make shell'"),
                (["build", "run", "vtd", "--load", "²"], {}, "LOAD=² is no number"),
                (["cache", "prune"], {"DAYS": "²", "IOPF_CACHE": str(self.top)}, "DAYS=² is no"),
                (["build", "demo", "vtd"], {"JSON": "x"}, "JSON= is for 'make lanes'"),
                (["build", "demo", "vtd", "--load", "3"], {}, "LOAD= is for 'make lanes'"),
                (["build", "shell", "vtd", "--file", "/no/x"], {}, "FILE=/no/x is no file"),
                (["build", "run", "vtd", "--json", "/no/x"], {}, "JSON=/no/x: No such file"),
                (["check", "frob"], {}, "no check frob; there are scripts .*selfcheck"),
                (["check", "--bogus"], {}, "unrecognized arguments: --bogus.*--help"),
                (["check", "scripts", "--junit", "/no/x"], {}, "JUNIT=/no/x"),
                (["series", "apply", "bsd"], {}, "invalid choice: 'bsd'"),
                (["series", "apply", "linux"], {"KSRC": "/no"}, "set KSRC to its top folder"),
                (["series", "export", "linux"], {}, "make tree"),
                (["series", "apply", "linux"], {"OFFLINE": "1"}, "OFFLINE=1.*run once with"),
                (["series", "apply", "linux"], {"OUT": f"{home}/x"}, "OUT=DIR"),
                (["series", "apply", "linux"], {"IOPF_CACHE": f"{home}/x"}, "IOPF_CACHE=DIR"),
                (["series", "apply", "linux"], {"OUT": "/tmp/a b"}, "' '; set OUT=DIR"),
                (["series", "apply", "linux"], {"IOPF_CACHE": "/tmp/a:b"}, "':'; set IOPF_CACHE"),
                (["cache", "prune"], {"DAYS": "x"}, "DAYS=x"),
                (["cache", "frob"], {}, "invalid choice")):
            with self.subTest(args=args, env=env):
                status, said = self.script(*args, env={"OFFLINE": "1", **env})
                self.assertEqual(status, 2, said)
                self.assertEqual(len(said.strip().splitlines()), 1, said)
                self.assertRegex(said, words)

    def test_standard_files_that_are_closed(self):
        """No traceback, and what is printed goes into no file that is opened next."""
        build = f"'{host.REPO}/scripts/build'"
        for how, wanted in ((f"{build} list >&-; echo $?", "0\n"),
                            (f"{build} list <&- 2>&- >/dev/null; echo $?", "0\n"),
                            (f"{build} frob 2>&-; echo $?", "2\n")):
            self.assertEqual(self.command(["sh", "-c", how]), (0, wanted), how)
        code = ("import os; from iopf import errors; errors.open_standard_files(); "
                "print('said', flush=True); errors.sys.exit(os.open('x', os.O_CREAT) <= 2)")
        self.assertEqual(self.command(["sh", "-c", f'{sys.executable} -c "{code}" >&-'],
                                      cwd=self.top), (0, ""))
        self.assertEqual((self.top / "x").read_text(), "")

    def test_reader_that_goes_away(self):
        status, said = self.command(["sh", "-c", f"'{host.REPO}/scripts/build' list | true"])
        self.assertEqual((status, said), (0, ""))


if __name__ == "__main__":
    unittest.main()

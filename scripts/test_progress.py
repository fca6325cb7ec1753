# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What a person sees: expected times, percentages, colour, Q=1 and V=1."""

import contextlib
import io
import os
import unittest

from testing import Sandboxed
from iopf import host, process, progress, times


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Times(Sandboxed):
    def test_last_run(self):
        self.assertEqual(progress.Step("kernel", "kernel").expected, 0)
        times.record("kernel", 250.7, 4000)
        step = progress.Step("kernel", "kernel")
        self.assertEqual((step.expected, step.expected_lines), (250, 4000))

    def test_damaged_file(self):
        host.claim_cache()
        for text in ("", "{", "[]", '{"a": 1, "b": {"seconds": "x", "lines": 1},'
                     ' "c": {"seconds": -1, "lines": 1}, "d": {"seconds": 1, "lines": 2}}'):
            times.path().write_text(text)
            self.assertLessEqual(set(times.load()), {"d"})
        times.record("e", 1, 1)
        self.assertEqual(set(times.load()), {"d", "e"})


class Seen(Sandboxed):
    def say(self, func, stream=None, **env):
        out = stream or io.StringIO()
        os.environ.update(env)
        with contextlib.redirect_stdout(out):
            func()
        return out.getvalue()

    def watch(self, text, lines=0, expected=0):
        log = self.top / "log"
        log.write_bytes(b"")
        watch = progress.Watch(log)
        log.write_text(text)
        watch.read()
        return watch.share(lines, expected)

    def test_percent(self):
        self.assertEqual(self.watch("[1/200] a\n[50/200] b\n"), 25)
        self.assertEqual(self.watch("[200/200] b\n"), 99)       # it is not over yet
        self.assertEqual(self.watch("  CC a.o\n" * 30, 20, 100), 50)
        self.assertEqual(self.watch("  CC a.o\n" * 300, 0, 100), 99)
        self.assertIsNone(self.watch("  CC a.o\n"))

    def steps(self):
        steps = progress.Progress(2)
        steps.step("kernel", lambda: ("path", "built"))
        steps.step("QEMU", lambda: ("path", "cached"))
        steps.table()

    def test_steps_and_table(self):
        said = self.say(self.steps)
        self.assertRegex(said, r"\[1/2\] kernel \.\.\.\n\[1/2\] kernel done in 0m00s \(built\)\n")
        self.assertRegex(said, r"\nkernel +0m00s  built\nQEMU +0m00s  cached\nall steps")

    def test_expected_time(self):
        times.record("kernel", 250, 4000)
        self.assertIn("kernel ... about 4m10s\n", self.say(self.steps))

    def test_no_table_of_nothing(self):
        def steps():
            steps = progress.Progress(1)
            steps.step("QEMU", lambda: ("path", "cached"))
            steps.table()
        self.assertNotIn("all steps", self.say(steps))

    def test_quiet(self):
        self.assertEqual(self.say(self.steps, Q="1"), "")
        self.assertEqual(self.say(lambda: progress.say("wait", always=True), Q="1"), "wait\n")

    def logged(self):
        process.logged(["echo", "from the tool"], self.top / "log")

    def test_verbose(self):
        self.assertNotIn("from the tool", self.say(self.logged))
        self.assertIn("from the tool\n", self.say(self.logged, V="1"))
        self.assertNotIn("from the tool", self.say(self.logged, V="1", Q="1"))

    def test_colour_on_a_terminal_only(self):
        def call():
            print(progress.colour("passed", "green"))
        for stream, env, want in ((Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
                                  (Terminal(), {"NO_COLOR": "1"}, False),
                                  (Terminal(), {"TERM": "dumb", "NO_COLOR": ""}, False),
                                  (io.StringIO(), {"TERM": "xterm"}, False)):
            self.assertEqual("\033" in self.say(call, stream, **env), want)

    def test_line_that_is_rewritten(self):
        def tick():
            step = progress.Step("kernel", "kernel")
            step.shown -= 60
            log = self.top / "log"
            log.write_text("")
            step.tick(progress.Watch(log))
            progress.SCREEN.wipe()
        self.assertRegex(self.say(tick, Terminal(), TERM="xterm"), "\r\033\\[K    kernel: 0m00s")
        self.assertRegex(self.say(tick), r"^    \.\.\. 0m00s, log \S+\n$")


if __name__ == "__main__":
    unittest.main()

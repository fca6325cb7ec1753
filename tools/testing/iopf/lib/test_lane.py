# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The runner as a program, on machines that are shell scripts."""

import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Sequence
from xml.etree import ElementTree

from test_kmodules import module

LIB = os.path.dirname(os.path.abspath(__file__))
GOOD = r"printf 'KTAP version 1\n1..1\n# iopf: start 1 a\nok 1 a\n# iopf: end\n'"
BAD = r"printf 'KTAP version 1\n1..1\n# iopf: start 1 a\nnot ok 1 a\n# iopf: end\n'"
DEMO = (r"printf 'KTAP version 1\n1..1\n#> for a person\n#> #demo requests=512 median_us=152\n"
        r"#> #demo requests=0\nok 1 demo\n# iopf: end\n'")
LIMIT = 300     # seconds; only a hang should ever meet it
# What a machine does besides its report: it boots, and says so on its console
BOOT = r"""console=$(printf '%s\n' "$@" | sed -n 's/.*id=con,path=//p'); echo booted >"$console"
"""


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(word) for word in file.read().split()]


class Runner(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.pid_file = os.path.join(self.folder, "pid")
        for name in ("kernel", "initramfs"):
            with open(os.path.join(self.folder, name), "wb"):
                pass

    def argv(self, command: str, lane: str, script: str) -> list[str]:
        qemu = os.path.join(self.folder, "qemu")
        with open(qemu, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho $$ >{self.pid_file}\n{script}\n")
        os.chmod(qemu, 0o755)
        return [sys.executable, os.path.join(LIB, "lane"), command, "--out", self.folder,
                "--kernel", os.path.join(self.folder, "kernel"), "--qemu", qemu,
                "--initramfs", os.path.join(self.folder, "initramfs"), lane]

    def run_lane(self, script: str, command: str = "run", lane: str = "mock",
                 more: Sequence[str] = (), **env: str) -> tuple[int, str]:
        done = subprocess.run(self.argv(command, lane, script) + list(more),
                              capture_output=True, text=True, timeout=LIMIT, check=False,
                              env={**os.environ, **env}, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    def test_pass(self) -> None:
        status, text = self.run_lane(BOOT + GOOD)
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed"), text)

    def test_fail(self) -> None:
        status, text = self.run_lane(BOOT + BAD)
        self.assertEqual((status, text.splitlines()[-1]), (1, "0 passed, 1 failed"), text)
        self.assertIn("/mock/ktap.log", text)

    def test_silence_is_failure(self) -> None:
        self.assertEqual(self.run_lane(BOOT)[0], 1)
        self.assertEqual(self.run_lane("")[0], 1)

    def test_console_that_was_taken_away(self) -> None:
        status, text = self.run_lane(BOOT + GOOD + '\nrm "$console"')
        self.assertEqual((status, "console.log is gone" in text), (2, True), text)

    def test_broken(self) -> None:
        status, text = self.run_lane("echo no such device >&2; exit 1")
        self.assertEqual(status, 2)
        self.assertIn("no such device", text)

    def test_killed_machine(self) -> None:
        self.assertEqual(self.run_lane(BOOT + GOOD + "\nkill -SEGV $$")[0], 1)

    def test_late_failure_of_the_emulator(self) -> None:
        self.assertEqual(self.run_lane(BOOT + GOOD + "\nexit 3")[0], 1)

    def absent(self, command: str, *lanes: str) -> tuple[int, str]:
        argv = [*self.argv(command, lanes[0], BOOT + GOOD), *lanes[1:]]
        for kernel in ("x86-stock-newest", "x86") if lanes == ("vtd",) else ("x86-stock-newest",):
            argv += ["--absent", f"{kernel}=no package = none"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_absent_kernel_is_a_skip(self) -> None:
        status, text = self.absent("run", "stock-newest")
        self.assertEqual((status, text.splitlines()[-1]), (0, "0 passed, 0 failed, 1 skipped"))
        self.assertIn("skip    no kernel x86-stock-newest: no package = none", text)
        self.assertFalse(os.path.exists(self.pid_file))

    def test_absent_kernel_among_others(self) -> None:
        status, text = self.absent("run", "stock-newest", "mock")
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed, 1 skipped"))

    def test_absent_kernel_in_selfcheck(self) -> None:
        status, text = self.absent("selfcheck", "selfcheck/stale")
        self.assertEqual((status, text.splitlines()[-1]), (0, "0 passed, 0 failed, 1 skipped"))
        self.assertIn("no package = none", text)

    def test_absent_kernel_that_is_needed(self) -> None:
        for command, lane in (("demo", "vtd"), ("shell", "stock-newest")):
            status, text = self.absent(command, lane)
            self.assertEqual(status, 2)
            self.assertIn("no package = none", text)

    def test_absent_release_of_qemu(self) -> None:
        """Its lanes are skipped, with the kernel that others have."""
        gone = ["--absent", "qemu-10.2.2=no package"]
        status, text = self.run_lane(BOOT + GOOD, lane="vtd-10.2", more=["mock", *gone])
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertIn("skip    no QEMU 10.2.2: no package", text)

    def test_release_is_no_other_qemu(self) -> None:
        status, text = self.run_lane(BOOT + GOOD, lane="vtd-10.2", more=[
            "--qemu", "x86-10.2.2=/nonexistent/qemu"])
        self.assertEqual((status, "/nonexistent/qemu" in text), (2, True), text)

    def test_absent_suite(self) -> None:
        """Its lane is skipped, and none of the same kernel."""
        gone = ["--absent", "suite-newest=no package"]
        status, text = self.run_lane(BOOT + GOOD, lane="mock-newest", more=["mock", *gone])
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertIn("skip    no suite newest: no package", text)

    def test_suite_that_nobody_names(self) -> None:
        status, text = self.run_lane(BOOT + GOOD, lane="mock-newest")
        self.assertEqual((status, "give --suite" in text), (2, True), text)

    def test_modules_follow_the_initramfs(self) -> None:
        status, text = self.run_lane(BOOT + GOOD, lane="stock-newest")
        self.assertEqual((status, "give --modules" in text), (2, True), text)
        modules = os.path.join(self.folder, "modules.cpio")
        with open(modules, "wb") as file:
            file.write(b"the modules")
        # the machine looks at its initramfs, which is gone afterwards
        initrd = os.path.join(self.folder, "latest/stock-newest/initrd")
        script = f"{BOOT}grep -q 'the modules' {initrd} || exit 1\n{GOOD}"
        argv = self.argv("run", "stock-newest", script)
        argv += ["--modules", f"x86-stock-newest={modules}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_preload(self) -> None:
        """A kernel with its drivers in modules: they come from a folder of a package."""
        lanes = os.path.join(LIB, "../lanes")
        folder = os.path.join(self.folder, "lanes")
        shutil.copytree(lanes, folder)
        with open(os.path.join(folder, "x86.kernel"), "a", encoding="utf-8") as file:
            file.write("preload = virtio-pci\n")
        lib = shutil.copytree(LIB, os.path.join(self.folder, "lib"))
        argv = self.argv("run", "mock", BOOT + GOOD)
        argv[1] = os.path.join(lib, "lane")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual((done.returncode, "give --module-tree" in done.stdout), (2, True),
                         done.stdout)
        argv += ["--module-tree", f"x86={self.folder}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertIn("no module virtio_pci, in " + self.folder, done.stdout)
        self.assertEqual(done.returncode, 2)
        with open(os.path.join(self.folder, "virtio_pci.ko.xz"), "wb") as file:
            file.write(lzma.compress(module()))
        argv = self.argv("run", "mock", f"{BOOT}grep -q /lib/modules/virtio_pci.ko "
                         f"{self.folder}/latest/mock/initrd || exit 1\n{GOOD}")
        argv[1] = os.path.join(lib, "lane")
        argv += ["--module-tree", self.folder]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_demo_is_shown(self) -> None:
        status, text = self.run_lane(BOOT + DEMO, "demo", "vtd")
        self.assertEqual((status, text.splitlines()[1]), (0, "for a person"))

    def test_demo_without_one(self) -> None:
        status, text = self.run_lane(BOOT + DEMO, "demo", "mock")
        self.assertEqual((status, len(text.splitlines())), (2, 1), text)
        self.assertRegex(text, "lane mock has no demonstration; these have one: .*vtd")
        self.assertFalse(os.path.exists(self.pid_file))

    def test_demo_of_all(self) -> None:
        status, text = self.run_lane(BOOT + DEMO, "demo", "all")
        self.assertEqual(status, 0, text)
        table = text.splitlines()[-3:]
        self.assertEqual([line.split() for line in table],
                         [["amd", "smmu", "vtd"], ["requests", *["512"] * 3],
                          ["median", "us", *["152"] * 3]])
        self.assertNotIn("#demo", text)
        status, text = self.run_lane(BOOT + BAD, "demo", "all")
        self.assertEqual(status, 1, text)

    def test_demo_of_several_things(self) -> None:
        summaries = ("mode=serve missed=32", "mode=serve missed=48 pasid=2",
                     "mode=sva missed=16")
        demo = (r"printf 'KTAP version 1\n1..1\n" +
                "".join(rf"#> #demo result=passed {text}\n" for text in summaries) +
                r"ok 1 demo\n# iopf: end\n'")
        status, text = self.run_lane(BOOT + demo, "demo", "vtd")
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"\n +RID +PASID 2 +SVA\nresult +passed +passed +passed\n"
                               r"mode +serve +serve +sva\nmissed +32 +48 +16\n"
                               r"pasid +- +2 +-\n")

    def test_trace(self) -> None:
        out = os.path.join(self.folder, "trace.json")
        demo = (r"printf 'KTAP version 1\n1..1\n#> for a person\n#> #file {\n#> #file  }\n"
                r"ok 1 demo\n# iopf: end\n'")
        status, text = self.run_lane(BOOT + demo, "trace", "vtd", ("--trace", out))
        self.assertEqual(status, 0, text)
        self.assertRegex(text, r"for a person\nthe trace is in .*/trace.json: open it")
        with open(out, encoding="utf-8") as file:
            self.assertEqual(file.read(), "{\n }\n")
        os.unlink(out)
        status, text = self.run_lane(BOOT + DEMO, "trace", "vtd", ("--trace", out))
        self.assertEqual(status, 2, text)
        self.assertRegex(text, "testbed: no trace came out")
        status, text = self.run_lane(BOOT + BAD, "trace", "vtd", ("--trace", out))
        self.assertEqual(status, 1, text)
        self.assertFalse(os.path.exists(out))

    def test_soak(self) -> None:
        """What is given comes to the program, and only a hang meets the limit."""
        script = f"""{BOOT}initrd=$(printf '%s\\n' "$@" | sed -n '/^-initrd$/{{n;p}}')
            grep -a -o -e 'timeout [0-9]*' -e '^bind .*' -e '^test .*' -e '^demo .*' "$initrd" >{self.folder}/plan
            {GOOD}"""
        for more, words in (
                ((), "1000000 10000 0"),
                (("--faults", "5", "--overflows", "0", "--minutes", "60", "--seed", "7"),
                 "5 0 60 7")):
            status, text = self.run_lane(script, "soak", "vtd", more)
            self.assertEqual(status, 0, text)
            with open(os.path.join(self.folder, "plan"), encoding="utf-8") as file:
                plan = file.read().splitlines()
            self.assertEqual(plan[1:], ["bind vfio-pci 1234:11f0 3",
                                        "bind vfio-pci 1234:11e9 1", "test iopf_soak "
                                        f"/usr/libexec/iopf/iopf_soak {words}"])
            self.assertGreater(int(plan[0].split()[1]), 3600 + int(words.split()[2]) * 60)

    def test_soak_that_cannot_be(self) -> None:
        status, text = self.run_lane(GOOD, "soak", "mock")
        self.assertEqual((status, len(text.splitlines())), (2, 1), text)
        self.assertRegex(text, "^testbed: lane mock has no endpoints to soak; .* vtd")
        status, text = self.run_lane(GOOD, "soak", "vtd", ("--minutes", "-1"))
        self.assertEqual((status, len(text.splitlines())), (2, 1), text)
        self.assertFalse(os.path.exists(self.pid_file))

    def test_wrong_name(self) -> None:
        for command in ("run", "demo", "shell", "soak"):
            status, text = self.run_lane(GOOD, command, "vtt")
            self.assertEqual((status, len(text.splitlines())), (2, 1), text)
            self.assertRegex(text, "^testbed: no lane vtt; there are .*mock .*vtd")

    def test_only(self) -> None:
        status, text = self.run_lane(GOOD, more=("mock", "vtd", "--only", "nothing*"))
        self.assertEqual((status, len(text.splitlines())), (2, 1), text)
        self.assertRegex(text, r"no test is called nothing\*; there are .*iommufd_fault")
        status, text = self.run_lane(BOOT + GOOD, more=("vtd",), ONLY="iommufd_f*")
        self.assertEqual((status, text.splitlines()[-1]), (0, "1 passed, 0 failed"), text)
        self.assertNotIn("lane vtd", text)

    def test_at_once(self) -> None:
        """Each machine waits for the other; what is said of one stands together."""
        both = (f"{BOOT}echo >{self.folder}/run.$$; while [ $(ls {self.folder}/run.* | wc -l) "
                "-lt 2 ]; do sleep 0.1; done\n")
        status, text = self.run_lane(both + GOOD, more=("vtd", "--at-once", "2"))
        self.assertEqual((status, text.splitlines()[-1]), (0, "2 passed, 0 failed"), text)
        self.assertEqual(len(re.findall(r"(?m)^\[[12]/2\] lane \w+: .*\n  ok +1/1 a", text)), 2, text)
        out = os.path.join(self.folder, "out.json")
        status, text = self.run_lane(BOOT + BAD, more=("vtd", "--json", out), AT_ONCE="2")
        self.assertEqual((status, text.splitlines()[-1]), (1, "0 passed, 2 failed"), text)
        self.assertEqual(len(re.findall(r"(?m)^  test +a: not ok", text)), 2, text)
        with open(out, encoding="utf-8") as file:
            self.assertEqual(sorted(each["lane"] for each in json.load(file)["lanes"]),
                             ["mock", "vtd"])
        status, text = self.run_lane("exit 1", more=("vtd", "--at-once", "2"))
        self.assertEqual((status, text.count("testbed:")), (2, 2), text)

    def test_slow_ones_begin(self) -> None:
        script = f'{BOOT}echo "$console" >>{self.folder}/order\n{GOOD}'
        lanes = ("vtd", "vtd-nested", "smmu", "vtd-debug", "--at-once", "2")
        status, text = self.run_lane(script, more=lanes)
        self.assertEqual((status, text.splitlines()[-1]), (0, "5 passed, 0 failed"), text)
        with open(f"{self.folder}/order", encoding="utf-8") as file:
            self.assertIn("/vtd-debug/", "".join(file.readlines()[:2]))

    def test_several_are_ended(self) -> None:
        """None of those that run stays behind, and none of those that wait begins."""
        script = f"echo $$ >>{self.folder}/pids; exec sleep 1000"
        argv = [*self.argv("run", "mock", script), "vtd", "vtd-nested", "--at-once", "2"]
        pids: list[int] = []
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as process:
            while len(pids) < 2:
                time.sleep(0.01)
                if os.path.exists(f"{self.folder}/pids"):
                    with open(f"{self.folder}/pids", encoding="utf-8") as file:
                        pids = [int(line) for line in file]
            process.send_signal(signal.SIGTERM)
            text = process.communicate(timeout=LIMIT)[1]
        self.assertEqual((process.returncode, text), (143, "\nended by SIGTERM\n"))
        self.assertFalse(any(map(is_alive, pids)))
        with open(f"{self.folder}/pids", encoding="utf-8") as file:
            self.assertEqual(len(file.readlines()), 2)

    def test_repeat(self) -> None:
        """The second of three rounds fails."""
        count = os.path.join(self.folder, "count")
        script = f"{BOOT}echo >>{count}; if [ $(wc -l <{count}) = 2 ]; then {BAD}; else {GOOD}; fi"
        status, text = self.run_lane(script, REPEAT="3")
        self.assertEqual((status, text.splitlines()[-1]), (1, "2 passed, 1 failed"), text)
        self.assertRegex(text, r"mock +2 of 3 rounds passed, not 2\n")
        self.assertRegex(text, r"(?m)^round 2 +mock +0 passed, 1 failed")
        logs = os.path.join(self.folder, "latest")
        self.assertTrue(all(os.path.exists(f"{logs}/round-{n}/mock/ktap.log") for n in (1, 2, 3)))
        os.unlink(count)
        status, text = self.run_lane(script, more=("--repeat", "3", "--until-failure"))
        self.assertRegex(text, r"mock +1 of 2 rounds passed, not 2\n")
        self.assertEqual(status, 1)

    def test_rounds_that_are_cut_short(self) -> None:
        count = os.path.join(self.folder, "count")
        script = f"{BOOT}echo >>{count}; [ $(wc -l <{count}) = 1 ] || exec sleep 1000\n{GOOD}"
        with subprocess.Popen([*self.argv("run", "mock", script), "--repeat", "3"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            while not os.path.exists(count) or os.path.getsize(count) < 2:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            text, _ = process.communicate(timeout=LIMIT)
        self.assertRegex(text, r"mock +1 of 1 rounds passed\n$")

    def test_bad_numbers(self) -> None:
        for more in (("--repeat", "0"), ("--repeat", "x"), ("--load", "x"), ("--load", "-1"),
                     ("--load", "1000000"), ("--at-once", "0")):
            status, text = self.run_lane(GOOD, more=more)
            self.assertEqual((status, len(text.splitlines())), (2, 1), text)
        status, text = self.run_lane(GOOD, LOAD="x")
        self.assertEqual((status, len(text.splitlines())), (2, 1), text)
        # of no use there, so not taken
        self.assertEqual(self.run_lane(GOOD, "selfcheck", "selfcheck/skip",
                                       more=("--only", "x"))[0], 2)
        self.assertFalse(os.path.exists(self.pid_file))

    def test_load_is_there_and_ends(self) -> None:
        """The machine itself counts the busy processes of its parent."""
        kept = os.path.join(self.folder, "kept")
        script = (f"{BOOT}for p in $(cat /proc/$PPID/task/*/children); do "
                  f"grep -q 'while True' /proc/$p/cmdline && echo $p; done >{kept}\n{GOOD}")
        self.assertEqual(self.run_lane(script, LOAD="3")[0], 0)
        with open(kept, encoding="utf-8") as file:
            pids = [int(line) for line in file]
        self.assertEqual(len(pids), 3)
        self.assertFalse(any(is_alive(pid) for pid in pids))

    def test_logs_are_kept(self) -> None:
        for _ in range(3):
            self.run_lane(BOOT + GOOD)
        runs = [name for name in os.listdir(self.folder) if name.startswith("20")]
        self.assertEqual(len(runs), 3)
        self.assertEqual(os.readlink(os.path.join(self.folder, "latest")), max(
            runs, key=lambda name: (name[:15], int(name[16:] or 0))))

    def test_folder_that_cannot_be_written(self) -> None:
        for out in ("/proc/nowhere", "/dev/null/x"):
            status, text = self.run_lane(GOOD, more=("--out", out))
            self.assertEqual((status, len(text.splitlines())), (2, 1), text)
            self.assertIn(f"--out {out}: ", text)

    def test_disk_is_full(self) -> None:
        """As little as on any full disk can be written: nothing."""
        script = f"{GOOD}"
        argv = self.argv("run", "mock", script)
        done = subprocess.run(["sh", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "sh", *argv],
                              capture_output=True, text=True, timeout=LIMIT, check=False)
        text = done.stdout + done.stderr
        self.assertEqual(done.returncode, 2, text)
        self.assertRegex(text, "testbed: .*File too large")
        self.assertNotIn("Traceback", text)

    def test_nobody_reads(self) -> None:
        done = subprocess.run(["sh", "-c", '"$@" | true', "sh", sys.executable,
                               os.path.join(LIB, "lane"), "list"], capture_output=True,
                              text=True, timeout=LIMIT, check=False)
        self.assertEqual(done.stderr, "")

    def test_results_for_programs(self) -> None:
        xml, text = (os.path.join(self.folder, name) for name in ("r.xml", "r.json"))
        self.run_lane(BOOT + BAD, more=("vtd", "--junit", xml), JSON=text)
        root = ElementTree.parse(xml).getroot()
        self.assertEqual([suite.get("name") for suite in root], ["mock", "vtd"])
        self.assertEqual(root.get("failures"), "2")
        with open(text, encoding="utf-8") as file:
            data = json.load(file)
        self.assertEqual((data["failed"], len(data["lanes"])), (2, 2))
        for option in ("--junit", "--json"):
            status, said = self.run_lane(GOOD, more=(option, "/nowhere/file"))
            self.assertEqual((status, len(said.splitlines())), (2, 1), said)
            self.assertIn(f"{option} /nowhere/file: No such file", said)

    def test_shell_says_what_to_type(self) -> None:
        program = os.path.join(self.folder, "mine")
        with open(program, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n")
        initrd = os.path.join(self.folder, "latest/vtd/initrd")
        status, text = self.run_lane(f"grep -aq root/mine {initrd} || exit 3", "shell", "vtd",
                                     FILE=program)
        self.assertEqual(status, 0, text)
        for line in ("/root/mine", "iopf probe 0000:01:00.0", "/usr/libexec/iopf/iopf_vfio"):
            self.assertIn(f"    {line}\n", text)
        _, text = self.run_lane("", "shell", "vtd", more=("--file", program), FILE=program)
        self.assertEqual(text.count("    /root/mine\n"), 1, text)
        status, text = self.run_lane("", "shell", "vtd", FILE="/no/such")
        self.assertEqual((status, text), (2, "testbed: --file /no/such: "
                                             "No such file or directory\n"))

    def test_list(self) -> None:
        done = subprocess.run([sys.executable, os.path.join(LIB, "lane"), "list"],
                              capture_output=True, text=True, timeout=LIMIT, check=True)
        self.assertRegex(done.stdout, r"(?m)^vtd +x86 +PCIe .*\(has a demonstration\)$")

    def test_selfcheck(self) -> None:
        """A lane that must fail has to fail as it should, and only so."""
        cut = BOOT + r"printf 'KTAP version 1\n1..3\n# iopf: start 1 power-off\n'"
        self.assertEqual(self.run_lane(cut, "selfcheck", "selfcheck/no-end")[0], 0)
        for script in (GOOD, BAD, cut + "\nexit 3", cut.replace("1..3", "1..4")):
            self.assertEqual(self.run_lane(BOOT + script, "selfcheck", "selfcheck/no-end")[0], 1)
        self.assertEqual(self.run_lane(BOOT + BAD, "selfcheck", "selfcheck/pass")[0], 1)

    def test_nothing_stays_behind(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            argv = [*self.argv("run", "mock", "exec sleep 1000"), "--load", "2"]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True) as process:
                while not os.path.exists(self.pid_file) or not os.path.getsize(self.pid_file):
                    time.sleep(0.01)
                with open(self.pid_file, encoding="utf-8") as file:
                    pids = [int(file.read())]
                pids += children(process.pid)
                self.assertEqual(len(set(pids)), 3)
                process.send_signal(number)
                text = process.communicate(timeout=LIMIT)[1]
            if number != signal.SIGKILL:
                self.assertEqual(process.returncode, 128 + number)
                self.assertEqual(text, f"\nended by {number.name}\n")
            os.unlink(self.pid_file)
            while any(map(is_alive, pids)):     # for as long as it takes: the kernel does it
                time.sleep(0.01)

    def test_shell_that_is_ended(self) -> None:
        """Ctrl-C is for the machine; what ends the runner ends the machine."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            with subprocess.Popen(self.argv("shell", "vtd", "exec sleep 1000"),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                while not os.path.exists(self.pid_file) or not os.path.getsize(self.pid_file):
                    time.sleep(0.01)
                with open(self.pid_file, encoding="utf-8") as file:
                    pid = int(file.read())
                process.send_signal(signal.SIGINT)
                self.assertTrue(is_alive(pid))
                process.send_signal(number)
                self.assertEqual(process.wait(LIMIT), 128 + number)
            os.unlink(self.pid_file)
            self.assertFalse(is_alive(pid))


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Nothing that was cut short is trusted, and nothing that is not ours is deleted."""

import contextlib
import io
import os
import pathlib
import resource
import signal
import subprocess
import sys
import unittest
from unittest import mock

from testing import SCRIPTS, Sandboxed
from iopf import build, cache, errors, host, lanes, lock, patches, process, stock_kernel

SLOW = """
import sys, pathlib
from iopf import cache
def make(folder):
    (folder / "image").write_text("half")
    print("at work", flush=True)
    sys.stdin.readline()
    (folder / "image").write_text("whole")
print(cache.publish(make, pathlib.Path(sys.argv[1]))[1], flush=True)
"""


class Products(Sandboxed):
    def setUp(self):
        super().setUp()
        self.final = self.cache / "kernel/x86-0123"
        self.made = 0
        cache.VERIFIED.clear()

    def make(self, folder):
        self.made += 1
        (folder / "sub").mkdir()
        (folder / "image").write_text("image\n" * 1000)
        (folder / "sub/config").write_text("CONFIG=y\n")
        (folder / "link").symlink_to("image")

    def publish(self):
        cache.VERIFIED.clear()      # as in a command of its own
        self.said = io.StringIO()
        with contextlib.redirect_stdout(self.said):
            return cache.publish(self.make, self.final)

    def test_made_once(self):
        self.assertEqual(self.publish(), (self.final, "built"))
        self.assertEqual(self.publish(), (self.final, "cached"))
        self.assertEqual(self.made, 1)

    def test_damaged_is_made_again(self):
        def cut(path):
            os.truncate(path, 10)

        def flip(path):
            data = bytearray(path.read_bytes())
            data[0] ^= 1
            path.write_bytes(data)

        def relink(path):
            path.unlink()
            path.symlink_to("elsewhere")

        for damage, name in ((cut, "image"), (flip, "image"), (pathlib.Path.unlink, "sub/config"),
                             (relink, "link"), (cut, cache.MANIFEST), (flip, cache.MANIFEST),
                             (pathlib.Path.unlink, cache.MANIFEST)):
            with self.subTest(damage=damage.__name__, name=name):
                self.publish()
                damage(self.final / name)
                before = self.made
                self.assertEqual(self.publish(), (self.final, "built"))
                self.assertEqual(self.made, before + 1)
                self.assertIn("made again", self.said.getvalue())
                self.assertEqual(self.publish()[1], "cached")

    def test_mark_of_an_older_version(self):
        """It was an empty file, which says nothing about the others."""
        host.claim_cache()
        self.final.mkdir(parents=True)
        (self.final / cache.MANIFEST).touch()
        self.assertEqual(self.publish()[1], "built")

    def test_what_comes_later_does_no_harm(self):
        """A base's repository gets the objects of the series."""
        self.publish()
        (self.final / "more").write_text("more\n")
        self.assertEqual(self.publish()[1], "cached")

    def slow(self):
        proc = self.python(SLOW.replace("sys.argv[1]", repr(str(self.final))),
                           stdin=subprocess.PIPE)
        self.addCleanup(proc.stdin.close)
        return proc

    def test_killed(self):
        proc = self.slow()
        self.assertEqual(proc.stdout.readline(), "at work\n")
        proc.send_signal(signal.SIGKILL)
        proc.wait()
        left = [p.name for p in self.final.parent.iterdir()]
        self.assertEqual(len(left), 1, "the test needs a leaving")
        self.assertFalse(self.final.exists())
        self.assertEqual(self.publish()[1], "built")
        self.assertEqual([p.name for p in self.final.parent.iterdir()], [self.final.name])

    def test_two_at_once(self):
        first = self.slow()
        self.assertEqual(first.stdout.readline(), "at work\n")
        second = self.slow()
        said = second.stdout.readline()
        self.assertIn(f"process {first.pid}", said)
        self.assertIn("makes kernel/x86-0123", said)
        first.stdin.write("\n")
        first.stdin.flush()
        self.assertEqual(first.stdout.readline(), "built\n")
        self.assertEqual(second.stdout.readline(), "cached\n")
        self.assertEqual((self.final / "image").read_text(), "whole")

    def test_full_disk(self):
        """RLIMIT_FSIZE ends a write as a full disk does, half-way."""
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        host.claim_cache()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
        try:
            with self.assertRaises(OSError) as caught:
                self.publish()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, handler)
        self.assertRegex(errors.explain(caught.exception), "File too large; .*ulimit")
        self.assertEqual(list(self.final.parent.iterdir()), [])
        self.assertEqual(self.publish()[1], "built")

    def test_failed_build(self):
        def fail(folder):
            (folder / "image").write_text("half")
            raise errors.Failure("no compiler")
        with self.assertRaises(errors.Failure):
            cache.publish(fail, self.final)
        self.assertFalse(self.final.exists())

    def test_every_manifest_is_on_the_disk_first(self):
        """fsync of each file and folder comes before the rename."""
        synced, real = [], os.fsync

        def fsync(fd):
            synced.append((os.readlink(f"/proc/self/fd/{fd}"), self.final.exists()))
            real(fd)
        self.patch(os, "fsync", fsync)
        self.publish()
        before = {pathlib.Path(p).name for p, there in synced if not there}
        for name in ("image", "config", cache.MANIFEST, "sub"):
            self.assertIn(name, before)
        self.assertIn((str(self.final.parent), True), synced)

    def test_build_folder_of_a_killed_build(self):
        work = self.out / "build/x"
        with build.build_folder(work):
            (work / "good.o").write_text("1")
        with self.assertRaises(errors.Failure), build.build_folder(work):
            raise errors.Failure("a plain error in a source")
        with build.build_folder(work):
            self.assertTrue((work / "good.o").exists())
        for failure in (errors.Ended(signal.SIGTERM), errors.Failure("No space left on device")):
            with self.assertRaises(type(failure)), build.build_folder(work):
                (work / "half.o").write_text("")
                raise failure
            with build.build_folder(work):
                self.assertFalse((work / "half.o").exists())
                (work / "good.o").write_text("1")


class Pruning(Sandboxed):
    def product(self, name, age):
        final = self.cache / name
        cache.VERIFIED.clear()
        cache.publish(lambda folder: (folder / "f").write_text("x" * 5000), final)
        stamp = os.stat(final / cache.MANIFEST).st_mtime - age * 86400
        os.utime(final / cache.MANIFEST, (stamp, stamp))
        return final

    def prune(self, used=(), days=14):
        return {p for p, _ in cache.prune(set(used), days)}

    def test_old_and_unused(self):
        old, used = self.product("kernel/old", 20), self.product("kernel/used", 20)
        new = self.product("qemu/new", 2)
        self.assertEqual(self.prune([used]), {old})
        self.assertFalse(old.exists())
        self.assertTrue(used.exists() and new.exists())
        self.assertEqual(self.prune([used], 0), {new})

    def test_use_makes_young(self):
        old = self.product("kernel/old", 20)
        cache.publish(lambda folder: None, old)
        self.assertEqual(self.prune(), set())

    def test_what_is_not_ours_stays(self):
        self.product("kernel/x", 0)
        foreign = self.cache / "kernel/holiday"
        foreign.mkdir()
        (foreign / "photo").write_text("x")
        os.utime(foreign, (0, 0))
        (self.cache / "letter").write_text("x")
        self.prune(days=0)
        self.assertTrue((foreign / "photo").exists() and (self.cache / "letter").exists())

    def test_folder_of_somebody_else(self):
        self.cache.mkdir()
        (self.cache / "photo").write_text("x")
        status, said = self.script("cache", "sizes")
        self.assertEqual(status, 2)
        self.assertRegex(said, "not made by this project")
        (self.cache / "photo").rename(self.cache / "config")    # a name that we use too
        for call in (host.claim_cache, lambda: self.prune(days=0)):
            with self.assertRaisesRegex(errors.Failure, "not ours|left alone"):
                call()
        self.assertEqual([p.name for p in self.cache.iterdir()], ["config"])

    def test_leavings_and_what_is_being_made(self):
        self.product("kernel/x", 0)
        dead, live = self.cache / "kernel/.a.1234", self.cache / "kernel/.b.1235"
        for path in (dead, live):
            path.mkdir()
        holder = self.python(
            "import pathlib, sys\nfrom iopf import lock\n"
            f"with lock.of_product(pathlib.Path({str(self.cache)!r}) / 'kernel/b', 'makes b'):\n"
            "    print('held', flush=True)\n    sys.stdin.readline()\n", stdin=subprocess.PIPE)
        self.addCleanup(holder.stdin.close)
        self.assertEqual(holder.stdout.readline(), "held\n")
        self.assertEqual(self.prune(), {dead})
        self.assertTrue(live.exists())

    def test_workspace(self):
        with cache.workspace() as work:
            (pathlib.Path(work) / "big").write_text("x")
            dead = pathlib.Path(work).with_name(".fetch.4194305")   # above any process id
            dead.mkdir()
            self.assertEqual(self.prune(), {dead})
            self.assertTrue(pathlib.Path(work).is_dir())
        self.assertFalse(pathlib.Path(work).exists())

    def test_workspace_of_another_namespace(self):
        """Process numbers differ there, as in a container that shares the cache."""
        unshare = ["unshare", "--pid", "--fork"]
        if not process.succeeds([*unshare, "true"]):
            self.skipTest("no namespaces of processes here")
        remove = "import pathlib\nfrom iopf import cache\ncache.remove_dead(pathlib.Path({!r}))"
        with cache.workspace() as work:
            top = str(pathlib.Path(work).parent)
            self.assertEqual(self.command([*unshare, sys.executable, "-c",
                                           remove.format(top)]), (0, ""))
            self.assertTrue(pathlib.Path(work).is_dir())

    def test_sizes(self):
        self.product("kernel/a", 0)
        self.product("kernel/b", 0)
        (kind, number, size), = cache.sizes()
        self.assertEqual((kind, number), ("kernel", 2))
        self.assertGreaterEqual(size, 10000)
        status, said = self.script("cache", "sizes")
        self.assertEqual(status, 0)
        self.assertRegex(said, r"kernel +2 ")
        self.assertIn(str(self.cache), said)

    def test_what_this_clone_uses(self):
        product = self.cache / "kernel/mine"
        self.patch(build, "kernel_place", lambda kernel: product)
        self.patch(build, "busybox", lambda arch: self.cache / "busybox/b/busybox")
        self.assertIn(product, lanes.used_products())
        debian = self.cache / "debian-kernel/newest-9.9.1-1"
        debian.mkdir(parents=True)
        cache.seal(debian)
        used = lanes.used_products()
        self.assertIn(self.cache / "busybox/b", used)
        self.assertIn(debian, used)
        self.assertNotIn(None, used)        # there is none of 6.12
        self.patch(stock_kernel, "cached", lambda: self.top / "7.3.4-1")
        self.patch(stock_kernel, "place", lambda kernel, source: source / kernel.name)
        self.assertIn(self.top / "7.3.4-1/arm64-stock-sva", lanes.used_products())


class Cleaning(Sandboxed):
    def clean(self, **env):
        return self.script("cache", "clean", env=env)

    def test_ours(self):
        with lock.of_out("builds"):
            (self.out / "build").mkdir()
            (self.out / "build/x").write_text("x")
        status, said = self.clean()
        self.assertEqual(status, 0, said)
        self.assertFalse(self.out.exists())
        self.assertIn("nothing to remove", self.clean()[1])

    def test_relative_and_through_a_link(self):
        real = self.top / "disk/iopf"
        real.mkdir(parents=True)
        self.out.symlink_to(real)
        host.claim_out()
        (self.out / "log").mkdir()
        status, said = self.command([SCRIPTS / "cache", "clean"], env={"OUT": "out"}, cwd=self.top)
        self.assertEqual(status, 0, said)
        self.assertEqual(list(real.iterdir()), [])

    def test_not_ours(self):
        """OUT=/home must be refused by the build as by clean."""
        self.out.mkdir()
        (self.out / "alice").mkdir()
        self.assertRaisesRegex(errors.Failure, "not ours", host.claim_out)
        status, said = self.clean()
        self.assertEqual(status, 2)
        self.assertRegex(said, "left alone")
        self.assertEqual([p.name for p in self.out.iterdir()], ["alice"])
        self.assertEqual(len(said.splitlines()), 1)

    def test_no_folder(self):
        """A file, or a place where no folder can be made: the variable is named."""
        file = self.top / "file"
        file.write_text("x")
        for place in (file, file / "below", "/proc/none", "/dev/full"):
            for name, claim in (("OUT", host.claim_out), ("IOPF_CACHE", host.claim_cache)):
                with mock.patch.dict(os.environ, {name: str(place)}), self.assertRaisesRegex(
                        errors.Failure, f"^{place} is no folder .*set {name}=DIR"):
                    claim()

    def test_cache_inside(self):
        """What 'make clean' would take away with it."""
        host.claim_out()
        for place in (self.out, self.out / "a/cache"):
            with mock.patch.dict(os.environ, {"IOPF_CACHE": str(place)}):
                self.assertRaisesRegex(errors.Failure, "cache .* lies in", host.claim_cache)
                status, said = self.clean()
                self.assertEqual((status, len(said.splitlines())), (2, 1), said)
        self.assertTrue(self.out.is_dir())
        with mock.patch.dict(os.environ, {"IOPF_CACHE": f"{self.out}-cache"}):
            host.claim_cache()

    def test_names_like_ours(self):
        """A folder with the sources of Linux and QEMU is what such people have."""
        for name in ("linux", "qemu", "build"):
            (self.out / name).mkdir(parents=True)
            (self.out / name / "mine").write_text("x")
        self.assertRaisesRegex(errors.Failure, "not ours", host.claim_out)
        status, said = self.clean()
        self.assertEqual(status, 2, said)
        self.assertRegex(said, "left alone")
        self.assertTrue((self.out / "linux/mine").exists())

    def test_links_inside_are_not_followed(self):
        host.claim_out()
        (self.top / "precious").mkdir()
        (self.top / "precious/file").write_text("x")
        (self.out / "build").symlink_to(self.top / "precious")
        self.assertEqual(self.clean()[0], 0)
        self.assertTrue((self.top / "precious/file").exists())

    def test_work_that_is_not_exported(self):
        host.claim_out()
        tree = patches.SERIES["linux"].tree
        tree.mkdir()
        git = ["git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@localhost"]
        for args in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "made"]):
            subprocess.run([*git, *args], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], stdout=subprocess.PIPE, check=True)
        (tree / ".git/iopf-tip").write_bytes(head.stdout)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a person's"], check=True)
        status, said = self.clean()
        self.assertEqual(status, 2)
        self.assertRegex(said, "make export.*FORCE=1")
        self.assertTrue(tree.exists())
        self.assertEqual(self.clean(FORCE="1")[0], 0)
        self.assertFalse(self.out.exists())


class Logs(Sandboxed):
    def test_kept_beside_the_last_ones_and_bounded(self):
        top = self.out / "log"
        host.claim_out()
        top.mkdir()
        for number in range(host.KEPT_RUNS + 3):
            (top / f"20260101-0000{number:02d}-4194305").mkdir()
        (top / f"20250101-000000-{os.getppid()}").mkdir()       # goes on since long ago
        (top / "notes").mkdir()
        first = host.RunLogs().folder()
        (first / "x.log").write_text("x")
        runs = [p for p in top.iterdir() if p.is_dir() and not p.is_symlink()]
        self.assertEqual(len(runs), host.KEPT_RUNS + 2)
        self.assertTrue((top / "notes").is_dir())
        self.assertTrue((top / f"20250101-000000-{os.getppid()}").is_dir())
        self.assertEqual((top / "last/x.log").read_text(), "x")


if __name__ == "__main__":
    unittest.main()

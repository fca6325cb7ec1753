# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What makes a kernel and its modules be built again, and what becomes of one
that is not to be had."""

import contextlib
import io
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import base, build, errors, host, lanes, packages  # noqa: E402


def kernel(**more):
    return build.lanefile.Kernel("k", "x86", "arch/x86/boot/bzImage", "qemu", "", ["a.config"],
                                 **more)


class FakeSeries:
    def __init__(self):
        self.content = "1"
        self.without = None

    def key(self, _version, without):
        self.without = without
        return self.content


class Keys(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.top = pathlib.Path(tmp.name)
        self.series, self.tree = FakeSeries(), "tree-1"
        for name, text in (("a.config", "CONFIG_A=y\n"), ("m/Makefile", "obj-m += a.o\n"),
                           ("m/a.c", "int a;\n"), ("m/README", "\n"), ("h.h", "\n")):
            (self.top / name).parent.mkdir(exist_ok=True)
            (self.top / name).write_text(text)
        for name, value in (
                ("REPO", self.top), ("SERIES", {"linux": self.series, "qemu": self.series}),
                ("run", lambda args, **kw: f"{pathlib.Path(args[0]).name} {self.tools}\n"),
                ("publish", lambda _build, final: (final, "built"))):
            self.patch(build, name, value)
        self.tools = "1"
        self.patch(host, "cache", lambda: self.top / "cache")
        self.patch(packages, "own_versions", lambda names: [self.libraries])
        self.patch(packages, "matching", lambda pattern: [])
        self.libraries = "libc6-dev 1"
        self.patch(base, "repository", lambda name: name)
        self.patch(base, "kernel_repository", lambda package: package)
        self.patch(base, "tree_id", lambda repo: f"{repo} {self.tree}")
        self.patch(base, "version", lambda repo, name: "Linux 9.9.1")

    def patch(self, where, name, value):
        patch = mock.patch.object(where, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def key(self, **more):
        return build.kernel_path(kernel(**more))[0].name

    def changes(self, change, **more):
        before = self.key(**more)
        change()
        return self.key(**more) != before

    def test_compiler_and_linker(self):
        def change():
            self.tools += "+"
        self.assertTrue(self.changes(change))
        before = build.qemu_place()
        change()
        self.assertNotEqual(build.qemu_place(), before)

    def test_kvm_is_another_qemu(self):
        with mock.patch.dict(os.environ, {"KVM": ""}):
            before = build.qemu_place()
            os.environ["KVM"] = "1"
            self.assertNotEqual(build.qemu_place(), before)

    def test_libraries(self):
        """What QEMU is linked with, and the C library in the guest's static programs."""
        (self.top / "busybox").write_text("1")
        self.patch(build, "busybox", lambda arch: self.top / "busybox")
        self.patch(build, "guest_sources", lambda: [])
        for place in (build.qemu_place, lambda: build.guest_place("x86")):
            before = place()
            self.assertEqual(place(), before)
            self.libraries += "+"
            self.assertNotEqual(place(), before)
        before = build.guest_place("x86")
        (self.top / "busybox").write_text("2")
        self.assertNotEqual(build.guest_place("x86"), before)

    def test_series_is_in_its_own_kernels_only(self):
        def change():
            self.series.content += "+"
        self.assertTrue(self.changes(change))
        self.assertFalse(self.changes(change, series=False))
        self.assertFalse(self.changes(change, series=False, base="linux-source-9.9"))

    def test_base_and_configuration(self):
        def tree():
            self.tree += "+"

        def config():
            file = self.top / "a.config"
            file.write_text(file.read_text() + "CONFIG_B=y\n")
        for change in (tree, config):
            self.assertTrue(self.changes(change))
            self.assertTrue(self.changes(change, series=False, modules=["m"]))
        self.assertNotEqual(self.key(series=False, base="linux-source-9.9"),
                            self.key(series=False))

    def test_samples_count_where_they_are_built(self):
        self.key()
        self.assertIn("samples/", self.series.without)
        (self.top / "a.config").write_text("CONFIG_SAMPLES=y\n")
        self.key()
        self.assertNotIn("samples/", self.series.without)

    def test_modules(self):
        def path():
            return build.modules_path(made, self.top / "k-1")[0]
        made = kernel(series=False, modules=["m"])
        before = path()
        (self.top / "m/README").write_text("more\n")
        self.assertEqual(path(), before)
        for name in ("m/a.c", "m/Makefile"):
            (self.top / name).write_text("changed\n")
            self.assertNotEqual(path(), before)
            before = path()
        self.assertNotEqual(build.modules_path(made, self.top / "k-2")[0], before)
        self.assertIsNone(build.modules_path(kernel(), self.top / "k-1")[0])

    def test_module_sources_do_not_change_the_kernel(self):
        def change():
            (self.top / "m/a.c").write_text("int b;\n")
        self.assertFalse(self.changes(change, series=False, modules=["m"]))

    def test_folder_without_a_module(self):
        (self.top / "empty").mkdir()
        with self.assertRaisesRegex(errors.Failure, "no module in empty"):
            build.module_sources(kernel(modules=["empty"]))

    def absent(self, failure):
        def refuse(_package):
            raise failure
        self.patch(base, "kernel_repository", refuse)
        with contextlib.redirect_stdout(io.StringIO()):
            return lanes.kernel_or_absent(kernel(series=False, base="linux-source-9.9"))

    def test_unavailable_is_absent(self):
        product, how = self.absent(base.Unavailable("nowhere"))
        self.assertIsInstance(product, lanes.Absent)
        self.assertEqual((product, how), ("nowhere", "skipped"))

    def test_any_other_failure_is_none_of_it(self):
        with self.assertRaisesRegex(errors.Failure, "disk"):
            self.absent(errors.Failure("disk full"))


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What makes a kernel and its modules be built again, and what becomes of one
that is not to be had."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import base  # noqa: E402

LOADER = SourceFileLoader("iopf_build", str(pathlib.Path(__file__).parent / "build"))
build = module_from_spec(spec_from_loader("iopf_build", LOADER))
LOADER.exec_module(build)


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
                ("REPO", self.top), ("CACHE", self.top / "cache"), ("MODULE_HEADERS", ["h.h"]),
                ("SERIES", {"linux": self.series}), ("run", lambda args: "gcc 1\n"),
                ("publish", lambda _build, final: (final, "built"))):
            self.patch(build, name, value)
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
        for name in ("m/a.c", "m/Makefile", "h.h"):
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
        with self.assertRaisesRegex(build.Failure, "no module in empty"):
            build.module_sources(kernel(modules=["empty"]))

    def absent(self, failure):
        def refuse(_package):
            raise failure
        self.patch(base, "kernel_repository", refuse)
        with contextlib.redirect_stdout(io.StringIO()):
            return build.kernel_or_absent(kernel(series=False, base="linux-source-9.9"))

    def test_unavailable_is_absent(self):
        product, how = self.absent(base.Unavailable("nowhere"))
        self.assertIsInstance(product, build.Absent)
        self.assertEqual((product, how), ("nowhere", "skipped"))

    def test_any_other_failure_is_none_of_it(self):
        with self.assertRaisesRegex(build.Failure, "disk"):
            self.absent(build.Failure("disk full"))


if __name__ == "__main__":
    unittest.main()

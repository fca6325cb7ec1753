# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What makes a kernel and its modules be built again, and what becomes of one
that is not to be had."""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from iopf import (base, build, debian_kernel, errors, host, lanes, packages,  # noqa: E402
                  stock_kernel)
from iopf.testbed import lanefile  # noqa: E402


def kernel(**more):
    return lanefile.Kernel("k", "x86", "arch/x86/boot/bzImage", "qemu", "", ["a.config"],
                           **more)


class FakeSeries:
    def __init__(self):
        self.content = "1"
        self.without = None

    def key(self, _version, without):
        self.without = without
        return self.content


class Sanitized(unittest.TestCase):
    """scripts/cc-sanitized, with a compiler that prints what it is given."""

    def call(self, *args):
        said = subprocess.run([host.REPO / "scripts/cc-sanitized", "echo", *args], check=True,
                              env={**os.environ, "SANITIZED": "hw/misc qom"},
                              stdout=subprocess.PIPE, encoding="utf-8").stdout
        return said.split()

    def test_our_folders(self):
        for source in "../qemu/hw/misc/a.c", "/x/qom/b.c":
            self.assertIn("-fsanitize=address,undefined", self.call("-c", source, "-o", "a.o"))

    def test_other_folders(self):
        for source in "../qemu/hw/misc2/a.c", "../qemu/hw/a.c", "util/qom.c":
            self.assertEqual(self.call("-c", source, "-o", "a.o"), ["-c", source, "-o", "a.o"])

    def test_link(self):
        self.assertIn("-fsanitize=address,undefined", self.call("a.o", "-o", "a"))

    def test_folders_of_the_series(self):
        folders = build.sanitized_folders()
        for folder in "hw/misc", "hw/pci", "hw/i386", "tests/qtest", "qom":
            self.assertIn(folder, folders)


class Options(unittest.TestCase):
    def test_last_word(self):
        text = ("# CONFIG_A is not set\nCONFIG_A=m\nCONFIG_B=y\nCONFIG_C=\"x y\"\n"
                "CONFIG_D=y\n# CONFIG_D is not set\n# CONFIG_E is said\nCONFIG_B=m\n")
        self.assertEqual(sorted(build.asked(text)),
                         ["CONFIG_A=m", "CONFIG_B=m", 'CONFIG_C="x y"'])

    def test_lost(self):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            (work / ".config").write_text("CONFIG_A=y\n# CONFIG_B is not set\n")
            build.refuse_lost(["CONFIG_A=y"], work)
            with self.assertRaisesRegex(errors.Failure, "does not take CONFIG_B=y; correct"):
                build.refuse_lost(["CONFIG_A=y", "CONFIG_B=y"], work)


class Mutants(unittest.TestCase):
    """What `make mutants` asks for before anything is built."""

    def names(self, only):
        opts = mock.Mock(only=only, load=None, repeat=None, file=None, at_once="1")
        with mock.patch.object(lanes, "build_products", side_effect=KeyboardInterrupt) as built, \
                mock.patch.object(lanes.mutantfile, "chosen", wraps=lanes.mutantfile.chosen) \
                as chosen:
            with self.assertRaises(KeyboardInterrupt):
                lanes.mutants_command(opts)
        self.kernels = sorted(built.call_args.args[0])
        return chosen.call_args.args[0]

    def test_all_without_a_name(self):
        self.assertEqual(lanes.mutantfile.chosen(self.names(None)), lanes.mutantfile.load())
        self.assertEqual(self.kernels, ["arm64-mutants", "x86-mutants"])

    def test_some(self):
        self.assertEqual(self.names("replace-*"), "replace-*")
        self.assertEqual(self.kernels, ["x86-mutants"])

    def test_trees_to_refresh(self):
        self.assertEqual([kernel.name for kernel in build.mutants_kernels()],
                         ["arm64-mutants", "x86-mutants"])
        with mock.patch.object(lanes.on_top, "is_made", lambda _, label: label == "x86-mutants"), \
                mock.patch.object(lanes.on_top, "refresh") as refresh:
            lanes.refresh_mutants()
        self.assertEqual([call.args[1] for call in refresh.call_args_list], ["x86-mutants"])
        with mock.patch.object(lanes.on_top, "is_made", return_value=False):
            self.assertRaisesRegex(errors.Failure, "no tree of mutants", lanes.refresh_mutants)


class Demonstrations(unittest.TestCase):
    """The lanes that `make run` boots."""

    def test_demonstrations_of_the_readme(self):
        readme = (host.REPO / "README.md").read_text(encoding="utf-8")
        found = re.findall(r"`make run LANE=(\S+) DEMO=(\S+)`", readme)
        self.assertIn(("amd", "viommu"), found)
        for lane, demo in found:
            name, = lanes.lanes_of("demo", [lane], demo)
            self.assertTrue(lanefile.load(name).has_demo)
            self.assertIn(name, lanefile.usual_names())

    def test_each_is_one_of_a_lane(self):
        demos = [lane.demo for lane in map(lanefile.load, lanefile.names()) if lane.demo[0]]
        self.assertEqual(len(demos), len(set(demos)))
        for lane, _ in demos:
            self.assertIn(lane, lanefile.names())

    def test_handed_over(self):
        opts = mock.Mock(spec_set=["only", "load", "repeat", "at_once", "file", "demo", "json",
                                   "junit", *lanes.SOAK_OPTIONS], **dict.fromkeys(
            ["only", "load", "repeat", "at_once", "file", "json", "junit", *lanes.SOAK_OPTIONS]))
        for wanted, demo, last in ((["amd"], "viommu", "amd-viommu-demo"), (["amd"], None, "amd"),
                                   (["all"], None, "all")):
            opts.demo = demo
            with mock.patch.object(lanes, "build_lanes", side_effect=dict.fromkeys) as built, \
                    mock.patch.object(lanes, "machine_options", return_value=[]), \
                    mock.patch.object(host, "claim_out", return_value=pathlib.Path("/o")):
                call = lanes.lane_command("demo", wanted, opts)
            self.assertEqual(call[-1], last)
            self.assertIn("amd" if last == "all" else last, built.call_args.args[0])


class Devices(unittest.TestCase):
    """What of a list of devices a release of QEMU is built with."""

    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        source = self.source = pathlib.Path(tmp.name)
        for name, text in (("hw/x/Kconfig", "config A\n    bool\nconfig CXL\n"),
                           ("backends/Kconfig", "config SPDM_SOCKET\n"),
                           ("list", "# list\nCONFIG_A=y\nCONFIG_B=y\n")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)

    def test_release(self):
        with base.qemu_release("10.2.2"):
            text = build.device_list(self.source / "list", self.source)
        self.assertEqual(text, "# list\nCONFIG_A=y\nCONFIG_SPDM_SOCKET=y\nCONFIG_CXL=y\n")

    def test_own_base(self):
        """A device that it does not know is a mistake of the list, for QEMU to find."""
        with mock.patch.dict(os.environ, {"QVER": ""}):
            text = build.device_list(self.source / "list", self.source)
        self.assertEqual(text, (self.source / "list").read_text())


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
        self.patch(debian_kernel, "path", lambda wanted, arch: (
            self.top / "debian-kernel" / f"{arch}-{wanted}", "cached"))
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

    def test_release_is_another_qemu(self):
        """A product of its own, for x86 alone, and of what it is linked with."""
        self.patch(build, "TESTBED", self.top)
        (self.top / "lib").mkdir()
        for target in ("x86_64", "aarch64"):
            (self.top / f"lib/{target}-softmmu.mak").write_text("CONFIG_A=y\n")
        own, names = build.qemu_place(), build.qemu_binaries()
        self.assertEqual(names, ["qemu-system-aarch64", "qemu-system-x86_64"])
        with base.qemu_release("10.2.2"):
            place = build.qemu_place()
            self.assertEqual(build.qemu_binaries(), ["qemu-system-x86_64"])
            with mock.patch.object(build, "LINKED", ("OTHER",)):
                self.assertNotEqual(build.qemu_place(), place)
        with mock.patch.object(build, "LINKED", ("OTHER",)):
            self.assertEqual(build.qemu_place(), own)
        self.assertEqual((own.parent.name, place.parent.name), ("qemu", "qemu-10.2.2"))

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

    def test_diffs_on_top(self):
        """They make another kernel, which their content is in."""
        (self.top / "a.diff").write_text("1")
        more = {"patches": ["a.diff"]}
        self.assertNotEqual(self.key(), self.key(**more))
        self.assertTrue(self.changes(lambda: (self.top / "a.diff").write_text("2"), **more))

    def test_debians_own_kernel_is_not_built(self):
        """Neither the series nor our compiler, base or configuration is in it."""
        def change():
            self.series.content += "+"
            self.tools += "+"
            self.tree += "+"
        self.assertTrue(self.changes(change))
        self.assertFalse(self.changes(change, debian="newest"))
        self.assertNotEqual(self.key(debian="newest"), self.key(debian="6.12"))

    def test_base_and_configuration(self):
        def tree():
            self.tree += "+"

        def config():
            file = self.top / "a.config"
            file.write_text(file.read_text() + "CONFIG_B=y\n")
        for change in (tree, config):
            self.assertTrue(self.changes(change))
            self.assertTrue(self.changes(change, modules=["m"]))

    def test_samples_count_where_they_are_built(self):
        self.key()
        self.assertIn("samples/", self.series.without)
        (self.top / "a.config").write_text("CONFIG_SAMPLES=y\n")
        self.key()
        self.assertNotIn("samples/", self.series.without)

    def test_modules(self):
        def path():
            return build.modules_path(made, self.top / "k-1")[0]
        made = kernel(modules=["m"])
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
        self.assertFalse(self.changes(change, modules=["m"]))

    def test_folder_without_a_module(self):
        (self.top / "empty").mkdir()
        with self.assertRaisesRegex(errors.Failure, "no module in empty"):
            build.module_sources(kernel(modules=["empty"]))

    def absent(self, failure):
        def refuse(_wanted, _arch):
            raise failure
        self.patch(debian_kernel, "path", refuse)
        with contextlib.redirect_stdout(io.StringIO()):
            return lanes.kernel_or_absent(kernel(debian="newest"))

    def test_unavailable_is_absent(self):
        product, how = self.absent(debian_kernel.Unavailable("nowhere"))
        self.assertIsInstance(product, lanes.Absent)
        self.assertEqual((product, how), ("nowhere", "skipped"))

    def test_release_that_is_not_to_be_had(self):
        """Its lanes are skipped, and no others of the same kernel."""
        self.patch(base, "repository", mock.Mock(side_effect=base.Unavailable("nowhere")))
        with contextlib.redirect_stdout(io.StringIO()):
            product, how = lanes.qemu_or_absent("10.2.2")
        self.assertEqual((product, how), ("nowhere", "skipped"))
        def lane(name):
            made = mock.Mock(kernel=kernel(), release=name.partition("-")[2], suite="newest")
            made.qemu_key = lanefile.Lane.qemu_key.fget(made)
            return made

        self.patch(lanefile, "load", lane)
        self.patch(host, "firmware", lambda: [])
        made = ("/image", self.top, "/initramfs", None, None, None)
        self.assertEqual(
            [str(a) for a in lanes.machine_options({"vtd-10.2.2": product, "vtd": made})],
            ["--absent", "qemu-10.2.2=nowhere", "--kernel", "k=/image", "--qemu",
             f"x86={self.top}", "--initramfs", "x86=/initramfs"])
        self.assertIn(f"x86-10.2.2={self.top}", [
            str(a) for a in lanes.machine_options({"vtd-10.2.2": made})])

    def test_suite_that_is_not_to_be_had(self):
        """The lane that wants it is skipped; with it the lane is told where it is."""
        self.patch(stock_kernel, "source",
                   mock.Mock(side_effect=debian_kernel.Unavailable("nowhere")))
        with contextlib.redirect_stdout(io.StringIO()):
            product, how = lanes.suite_or_absent("x86")
        self.assertEqual((product, how), ("nowhere", "skipped"))
        self.patch(lanefile, "load", lambda name: mock.Mock(
            kernel=kernel(), release="", suite="newest", qemu_key="x86"))
        self.patch(host, "firmware", lambda: [])
        self.assertEqual(lanes.machine_options({"a": product}),
                         ["--absent", "suite-newest=nowhere"])
        made = ("/image", self.top, "/initramfs", None, None, "/suite")
        self.assertEqual(lanes.machine_options({"a": made})[-2:],
                         ["--suite", "newest-x86=/suite"])

    def test_own_qemu_is_never_absent(self):
        self.patch(base, "repository", mock.Mock(side_effect=errors.Failure("nowhere")))
        with self.assertRaisesRegex(errors.Failure, "nowhere"):
            lanes.qemu_or_absent("")

    def test_any_other_failure_is_none_of_it(self):
        with self.assertRaisesRegex(errors.Failure, "disk"):
            self.absent(errors.Failure("disk full"))

    def test_modules_of_debians_kernel(self):
        """Its image, our modules for it, and the tree of its own ones."""
        tree = self.top / "debian-kernel/x86-newest/lib/modules/9.9.1-amd64"
        tree.mkdir(parents=True)
        image, modules, own = lanes.kernel_or_absent(
            kernel(debian="newest", modules=["m"]))[0]
        self.assertEqual((image.name, modules.name, own), ("bzImage", "modules.cpio", tree))
        self.assertIsNone(lanes.kernel_or_absent(kernel())[0][2])


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""What may stand in the files of lanes and kernels, and what may not."""

import os
import tempfile
import unittest
from unittest import mock

import lanefile

KERNEL = "[kernel]\narch = x86\nimage = i\nqemu = q\ncmdline = c\nconfigs = a.config\n"
LANE = ("[lane]\nabout = a\nkernel = k\nmachine = m\ntimeout = 2\nstep-timeout = 1\n"
        "plan =\n\ttest a /bin/a\n")


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        patch = mock.patch.object(lanefile, "LANES", self.folder)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, name: str, text: str) -> None:
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def kernel(self, more: str = "") -> lanefile.Kernel:
        self.write("k.kernel", KERNEL + more)
        return lanefile.load_kernel("k")

    def test_kernel_that_is_built(self) -> None:
        kernel = self.kernel("modules = a b\npatches = c d\n")
        self.assertEqual((kernel.debian, kernel.configs, kernel.modules, kernel.patches),
                         ("", ["a.config"], ["a", "b"], ["c", "d"]))

    def test_kernel_of_debian(self) -> None:
        self.kernel()
        for wanted in lanefile.DEBIAN:
            self.write("d.kernel", f"[kernel]\nlike = k\nconfigs =\ndebian = {wanted}\n")
            self.assertEqual(lanefile.load_kernel("d").debian, wanted)

    def test_built_or_debian(self) -> None:
        self.kernel()
        for more, text in (("debian = 6.12", "either"), ("configs =", "either"),
                           ("configs =\ndebian = 6.12\npatches = a.diff", "patches"),
                           ("configs =\ndebian = 7.3", "not 7.3"),
                           ("stock = 6.12", "stock is newest"),
                           ("configs =\ndebian = 6.12\nstock = newest", "without debian"),
                           ("stock = newest\npatches = a.diff", "patches"),
                           ("configs =\ndebian = 6.1\nmodules = a", "no modules")):
            self.write("d.kernel", f"[kernel]\nlike = k\n{more}\n")
            with self.assertRaisesRegex(lanefile.TestbedError, f"kernel d: .*{text}"):
                lanefile.load_kernel("d")

    def test_missing_key(self) -> None:
        self.write("k.kernel", "[kernel]\narch = x86\n")
        with self.assertRaisesRegex(lanefile.TestbedError, "missing"):
            lanefile.load_kernel("k")

    def test_modes(self) -> None:
        self.kernel()
        lane = LANE.replace("plan =", "devices =\n\tiommu,${mode},x\n\tdisk\n"
                            "options =\n\t-drive a b\nmode = two\nplan =")
        self.write("a.lane", lane + "[modes]\none = 1=on\ntwo = 2=on,3=off\n")
        self.write("b.lane", "[lane]\nlike = a\nmode = one\n")
        self.assertEqual(lanefile.load("a").devices, ["iommu,2=on,3=off,x", "disk"])
        self.assertEqual(lanefile.load("b").devices, ["iommu,1=on,x", "disk"])
        other = lanefile.load("a@one")
        self.assertEqual((other.name, other.devices[0], other.options),
                         ("a@one", "iommu,1=on,x", ["-drive a b"]))
        self.assertEqual(lanefile.expand(["b", "a@all", "b@one"]),
                         ["b", "a@one", "a@two", "b@one"])
        with self.assertRaisesRegex(lanefile.TestbedError, "no mode three; it has all one two"):
            lanefile.load("a@three")

    def test_own_modes(self) -> None:
        """Those of the lane that it is like are of another machine."""
        self.kernel()
        self.write("a.lane", LANE.replace("plan =", "mode = x\nplan =") + "[modes]\nx = 1\n")
        self.write("b.lane", "[lane]\nlike = a\nmode = y\noptions =\n\t${mode}\n\t-drive z\n"
                   "[modes]\ny =\n\t-global a\n\t-global b\nz = -global c\n")
        self.assertEqual(lanefile.modes("b"), ["y", "z"])
        self.assertEqual(lanefile.load("b").options, ["-global a", "-global b", "-drive z"])
        self.assertEqual(lanefile.load("b@z").options, ["-global c", "-drive z"])
        with self.assertRaisesRegex(lanefile.TestbedError, "no mode x"):
            lanefile.load("b@x")

    def test_lane_without_modes(self) -> None:
        self.kernel()
        self.write("a.lane", LANE)
        self.assertEqual(lanefile.expand(["a", "a@all"]), ["a"])
        with self.assertRaisesRegex(lanefile.TestbedError, "a has no modes, so no a@one"):
            lanefile.load("a@one")

    def test_lane_like_another(self) -> None:
        self.kernel()
        self.write("a.lane", LANE + "[skips]\nt/one = because\n")
        self.write("b.lane", "[lane]\nlike = a\nmachine = other\n[skips]\nt/two = so\n")
        lane = lanefile.load("b")
        self.assertEqual((lane.machine, lane.plan), ("other", ["test a /bin/a"]))
        self.assertEqual(lane.skips, {"t/one": "because", "t/two": "so"})

    def test_lane_that_wants_to_be_named(self) -> None:
        self.kernel()
        self.write("a.lane", LANE)
        self.write("b.lane", "[lane]\nlike = a\nnamed = yes\nrelease = 10.2.2\n")
        self.assertEqual(lanefile.names(), ["a", "b"])
        self.assertEqual(lanefile.usual_names(), ["a"])
        self.assertEqual(lanefile.load("b").release, "10.2.2")

    def test_demonstration_of_another_lane(self) -> None:
        self.kernel()
        self.write("a.lane", LANE)
        self.write("b.lane", "[lane]\nlike = a\ndemo = a one\n")
        self.write("c.lane", "[lane]\nlike = b\n")
        self.assertEqual([lanefile.load(n).demo for n in "abc"],
                         [("", ""), ("a", "one"), ("", "")])
        self.assertEqual(lanefile.demo_of("a", "one").name, "b")
        for wrong in (("a", "two"), ("b", "one"), ("", "")):
            with self.assertRaisesRegex(lanefile.TestbedError,
                                        "has no demonstration .*; there is LANE=a DEMO=one$"):
                lanefile.demo_of(*wrong)
        for text in "one", "a one two":
            self.write("b.lane", f"[lane]\nlike = a\ndemo = {text}\n")
            with self.assertRaisesRegex(lanefile.TestbedError, f"lane b: .*not {text}"):
                lanefile.load("b")

    def test_suite(self) -> None:
        self.kernel()
        self.write("a.lane", LANE)
        self.write("b.lane", "[lane]\nlike = a\nsuite = newest\n")
        self.write("c.lane", "[lane]\nlike = a\nsuite = oldest\n")
        self.assertEqual([lanefile.load(n).suite for n in "ab"], ["", "newest"])
        with self.assertRaisesRegex(lanefile.TestbedError, "no suite oldest; there is newest"):
            lanefile.load("c")

    def test_preload(self) -> None:
        self.assertEqual(self.kernel("preload = virtio_pci\n\tvirtio_console\n").preload,
                         ["virtio_pci", "virtio_console"])
        self.write("a.lane", LANE.replace("machine", "preload = nvme\nmachine"))
        self.assertEqual(lanefile.load("a").preload, ["virtio_pci", "virtio_console", "nvme"])

    def test_kernel_like_another(self) -> None:
        self.kernel()
        self.write("l.kernel", "[kernel]\nlike = k\nconfigs = b.config\nimage = j\n")
        kernel = lanefile.load_kernel("l")
        self.assertEqual((kernel.name, kernel.arch, kernel.image, kernel.configs),
                         ("l", "x86", "j", ["b.config"]))

    def test_like_itself(self) -> None:
        self.write("a.lane", "[lane]\nlike = b\n")
        self.write("b.lane", "[lane]\nlike = a\n")
        with self.assertRaisesRegex(lanefile.TestbedError, "like itself: a b a"):
            lanefile.load("a")

    def test_wrong_names_list_the_right_ones(self) -> None:
        self.kernel()
        self.write("a.lane", LANE)
        self.write("b.lane", LANE.replace("kernel = k", "kernel = z"))
        for name, text in (("vtt", "no lane vtt; there are a b$"),
                           ("b", "no kernel z; there are k$")):
            with self.assertRaisesRegex(lanefile.TestbedError, text):
                lanefile.load(name)

    def test_no_lane_at_all(self) -> None:
        for text in ("", "[other]\n", "no = section\n", "[lane]\n[lane]\n"):
            self.write("a.lane", text)
            with self.assertRaisesRegex(lanefile.TestbedError, r"^[^\n]*a\.lane[^\n]*$"):
                lanefile.load("a")


if __name__ == "__main__":
    unittest.main()

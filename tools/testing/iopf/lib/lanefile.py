# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Lanes and kernels: the data files of tools/testing/iopf/lanes.

lanes/README says what may stand in them.
"""

import configparser
import os
from dataclasses import dataclass, field
from typing import Optional

LANES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lanes")


MODE = "${mode}"
DEBIAN = ("5.10", "6.1", "6.12", "newest")
BOOTED_ONLY = ("5.10", "6.1")   # nothing is fetched to build a module with
SUITES = ("newest",)


class TestbedError(Exception):
    """The testbed is broken: nothing was learnt about the kernel."""


@dataclass
class Kernel:
    name: str
    arch: str
    image: str
    qemu: str
    cmdline: str
    configs: list[str]
    # Debian's own kernel instead of a build: one of DEBIAN
    debian: str = ""
    # "newest": built, but of Debian's source of that kernel instead of our series
    stock: str = ""
    modules: list[str] = field(default_factory=list)
    preload: list[str] = field(default_factory=list)
    # diffs that its source tree has beside the series
    patches: list[str] = field(default_factory=list)


@dataclass
class Lane:
    name: str
    about: str
    kernel: Kernel
    machine: str
    cpu: str
    smp: str
    memory: str
    devices: list[str]
    qemu: str
    cmdline: str
    timeout: int
    step_timeout: int
    port: bool
    plan: list[str]
    # modules that init loads first, those of the kernel's file included
    preload: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)    # of QEMU, beside the devices
    sleep: bool = False     # the machine can wake up from suspend to RAM
    accel: str = "tcg,thread=multi"     # without KVM
    compared: bool = True   # in the demonstration of all lanes
    release: str = ""       # of QEMU, if not that of the series
    suite: str = ""         # kselftests of another kernel, one of SUITES
    named: bool = False     # only when it is named
    slow: bool = False      # begins first, where several run at a time
    # the demonstration of another lane that this one is: that lane, and its name
    demo: tuple[str, str] = ("", "")
    scripts: dict[str, str] = field(default_factory=dict)
    skips: dict[str, str] = field(default_factory=dict)
    splats: dict[str, str] = field(default_factory=dict)
    noise: dict[str, str] = field(default_factory=dict)
    # kind and pattern of each failure that must be found; None: an ordinary lane
    expect: Optional[list[tuple[str, str]]] = None

    @property
    def qemu_key(self) -> str:
        """By what lib/lane's option --qemu knows the QEMU that boots it."""
        return f"{self.kernel.arch}-{self.release}" if self.release else self.kernel.arch

    @property
    def counts(self) -> bool:
        """Its clock is the number of its instructions, which KVM cannot tell."""
        return any(option.split()[0] == "-icount" for option in self.options)

    @property
    def has_demo(self) -> bool:
        return any(step.split()[0] == "demo" for step in self.plan)


def _parse(path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str    # type: ignore[assignment, method-assign]
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise TestbedError(f"{path}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise TestbedError(" ".join(f"{path}: {error}".split())) from error
    return parser


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def names() -> list[str]:
    """The lanes that must pass, without those of selfcheck."""
    return sorted(name[:-5] for name in os.listdir(LANES) if name.endswith(".lane"))


def usual_names() -> list[str]:
    """Those of them that are booted where none is named."""
    return [name for name in names()
            if not _merge(name, "lane")["lane"].getboolean("named", False)]


def selfcheck_names() -> list[str]:
    folder = os.path.join(LANES, "selfcheck")
    return sorted("selfcheck/" + name[:-5] for name in os.listdir(folder)
                  if name.endswith(".lane"))


def kernel_names() -> list[str]:
    return sorted(name[:-7] for name in os.listdir(LANES) if name.endswith(".kernel"))


def _merge(name: str, kind: str, above: tuple[str, ...] = ()) -> configparser.ConfigParser:
    """A file over that of the lane or kernel it is `like`."""
    if name in above:
        raise TestbedError(f"{kind} {name} is like itself: {' '.join(above + (name,))}")
    path = os.path.join(LANES, f"{name}.{kind}")
    if not os.path.isfile(path):
        known = kernel_names() if kind == "kernel" else (
            selfcheck_names() if name.startswith("selfcheck/") else names())
        raise TestbedError(f"no {kind} {name}; there are {' '.join(known)}")
    own = _parse(path)
    if not own.has_section(kind):
        raise TestbedError(f"{path}: no section [{kind}]")
    like = own.get(kind, "like", fallback=None)
    if not like:
        return own
    base = _merge(like, kind, above + (name,))
    if own.has_section("modes"):
        base.remove_section("modes")    # another machine's
    base.remove_option(kind, "demo")
    base.read_dict(own)
    return base


def load_kernel(name: str) -> Kernel:
    section = _merge(name, "kernel")["kernel"]
    try:
        kernel = Kernel(name, section["arch"], section["image"], section["qemu"],
                        " ".join(section["cmdline"].split()), section["configs"].split(),
                        section.get("debian", ""), section.get("stock", ""),
                        section.get("modules", "").split(),
                        section.get("preload", "").split(),
                        section.get("patches", "").split())
    except KeyError as error:
        raise TestbedError(f"kernel {name}: {error} is missing") from error
    except ValueError as error:
        raise TestbedError(f"kernel {name}: {error}") from error
    if bool(kernel.debian) == bool(kernel.configs):
        raise TestbedError(f"kernel {name}: either configs to build it with, or debian")
    if kernel.stock not in ("", "newest") or kernel.stock and kernel.debian:
        raise TestbedError(f"kernel {name}: stock is newest, and without debian")
    if (kernel.debian or kernel.stock) and kernel.patches:
        raise TestbedError(f"kernel {name}: patches are for a kernel of ours")
    if kernel.debian and kernel.debian not in DEBIAN:
        raise TestbedError(f"kernel {name}: debian is one of {' '.join(DEBIAN)}, "
                           f"not {kernel.debian}")
    if kernel.debian in BOOTED_ONLY and kernel.modules:
        raise TestbedError(f"kernel {name}: no modules are built for Debian's {kernel.debian}")
    return kernel


def modes(name: str) -> list[str]:
    """The modes of a lane, in each of which it can be booted; mostly none."""
    parser = _merge(name, "lane")
    return list(parser["modes"]) if parser.has_section("modes") else []


def expand(wanted: list[str]) -> list[str]:
    """LANE@all becomes the lane in each of its modes."""
    found = []
    for name in wanted:
        lane, _, mode = name.partition("@")
        found += [f"{lane}@{one}" for one in modes(lane)] if mode == "all" else [name]
    return found


def _set_mode(text: str, parser: configparser.ConfigParser, lane: str, wanted: str) -> str:
    """Devices or options with what stands for a mode: that of the name, or of the file."""
    if not parser.has_section("modes"):
        if wanted:
            raise TestbedError(f"lane {lane} has no modes, so no {lane}@{wanted}")
        return text
    mode = wanted or parser["lane"].get("mode", "")
    if mode not in parser["modes"]:
        raise TestbedError(f"lane {lane} has no mode {mode}; it has all "
                           f"{' '.join(parser['modes'])}")
    return text.replace(MODE, parser["modes"][mode])


def _demo(lane: str, text: str) -> tuple[str, str]:
    of, _, name = text.partition(" ")
    if text and (not name or len(text.split()) != 2):
        raise TestbedError(f"lane {lane}: demo is a lane and a name, not {text}")
    return of, name.strip()


def load(name: str) -> Lane:
    """A lane, or with NAME@MODE a lane in another than its usual mode."""
    file, _, mode = name.partition("@")
    parser = _merge(file, "lane")
    try:
        lane = parser["lane"]
        made = Lane(
            name, lane["about"], load_kernel(lane["kernel"]), lane["machine"],
            lane.get("cpu", "max"), lane.get("smp", "2"), lane.get("memory", "2G"),
            _lines(_set_mode(lane.get("devices", ""), parser, file, mode)),
            lane.get("qemu", ""),
            " ".join(lane.get("cmdline", "").split()), lane.getint("timeout"),
            lane.getint("step-timeout"), lane.getboolean("port", True),
            _lines(lane["plan"]))
        made.compared = lane.getboolean("compared", True)
        made.release = lane.get("release", "")
        made.suite = lane.get("suite", "")
        if made.suite and made.suite not in SUITES:
            raise TestbedError(f"lane {name}: there is no suite {made.suite}; there is "
                               f"{' '.join(SUITES)}")
        made.named = lane.getboolean("named", False)
        made.slow = lane.getboolean("slow", False)
        made.sleep = lane.getboolean("sleep", False)
        made.demo = _demo(name, lane.get("demo", ""))
        made.options = _lines(_set_mode(lane.get("options", ""), parser, file, mode))
        made.accel = lane.get("accel", made.accel)
        made.preload = made.kernel.preload + lane.get("preload", "").split()
    except (KeyError, ValueError, TypeError) as error:
        raise TestbedError(f"lane {name}: {error}") from error
    for section in ("scripts", "skips", "splats", "noise"):
        if parser.has_section(section):
            setattr(made, section, dict(parser[section]))
    if parser.has_section("expect"):
        lines = _lines(parser["expect"].get("failures", ""))
        made.expect = [(kind, pattern.strip()) for kind, _, pattern
                       in (line.partition(" ") for line in lines)]
    return made


def soak_lane(name: str) -> Lane:
    """The lane of this name; TestbedError if it has no endpoints to soak in page faults."""
    def has_endpoints(lane: Lane) -> bool:
        return any(step.split()[:2] == ["bind", "vfio-pci"] for step in lane.plan)

    lane = load(name)
    if not has_endpoints(lane):
        fit = [other for other in names() if has_endpoints(load(other))]
        raise TestbedError(f"lane {name} has no endpoints to soak; these have: {' '.join(fit)}")
    return lane


def demo_lanes(name: str) -> list[Lane]:
    """The lane of this name, or for "all" those that are worth a comparison.

    TestbedError if the lane has nothing to demonstrate.
    """
    known = [lane for lane in map(load, names()) if lane.has_demo]
    if name == "all":
        return [lane for lane in known if lane.compared]
    lane = load(name)
    if not lane.has_demo:
        raise TestbedError(f"lane {name} has no demonstration; these have one: "
                           f"{' '.join(each.name for each in known)}")
    return [lane]


def demo_of(lane: str, demo: str) -> Lane:
    """The lane that is this demonstration of another one; TestbedError if there is none."""
    known = {other.demo: other for other in map(load, names()) if other.demo[0]}
    if (lane, demo) not in known:
        there = ", ".join(f"LANE={of} DEMO={name}" for of, name in known)
        raise TestbedError(f"lane {lane} has no demonstration {demo}; there is {there}")
    return known[lane, demo]

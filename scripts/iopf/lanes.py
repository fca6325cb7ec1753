# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Builds what lanes need, in a cache that knows the content of each input, and
boots them.

    build deps [checks]        the distribution's packages: install, or print the one line
    build lane NAME...         kernel, QEMU and initramfs of these lanes
    build list                 the lanes and what they are about
    build run|demo|shell|selfcheck [NAME]...   build, then boot them (lib/lane);
                               demo all: every lane that has a demonstration;
                               demo amd --demo viommu: a demonstration of a lane
    build trace LANE           a trace of the lane's demonstration, in out/trace-LANE.json
    build soak LANE            the same for its endpoints in many page faults, while their
                               programs come and go (lib/lane soak)
    build path kernel|qemu|guest [KERNEL|ARCH] build one and print where it is
    build mutants              build the kernel of mutants, and boot it for each of them
                               with the test that must fail (lib/mutants)
    build refresh-mutants      write its diffs anew from out/on-top/*-mutants/linux
    build bench                count what the series costs, beside the newest stock kernel
    build deb-kernel           the distribution's kernel with the series, as packages
    build try                  a part of each build, to see what this machine lacks
"""

import contextlib
import os
import pathlib
import sys

from iopf import (base, bench, build, debian_kernel, host, kernel_deb, lock, on_top, packages,
                  process, progress, series, stock_kernel)
from iopf.errors import Failure, Parser
from iopf.testbed import MOST_LOAD, TESTBED, lanefile, mutantfile


class Absent(str):
    """Why a kernel's lanes cannot be booted on this machine."""


class AbsentQemu(Absent):
    """The same of a release of QEMU."""


class AbsentSuite(Absent):
    """The same of the kselftests of another kernel."""


def refuse_release():
    """A lane names the release of QEMU that it wants; the others want the series' own."""
    if base.wanted_version("qemu"):
        raise Failure("QVER= is for 'make qemu' and 'make tree', leave it out: lanes name the "
                      "QEMU that they want")


def qemu_or_absent(release):
    """The folder of a QEMU, or why that release is not to be had."""
    with base.qemu_release(release):
        try:
            return build.qemu_path()
        except base.Unavailable as failure:
            progress.say(f"    skipped: {failure}")
            return AbsentQemu(failure), "skipped"


def suite_or_absent(arch):
    """The archive with the kselftests of the newest kernel, or why it is not to be had."""
    try:
        return stock_kernel.suite_path(arch)
    except debian_kernel.Unavailable as failure:
        progress.say(f"    skipped: {failure}")
        return AbsentSuite(failure), "skipped"


def kernel_path(kernel):
    """The folder of a kernel, of whatever kind, and how it was come by."""
    return stock_kernel.path(kernel) if kernel.stock else build.kernel_path(kernel)


def kernel_or_absent(kernel):
    """The image and the modules of a kernel, or why it is not to be had."""
    try:
        path, how = kernel_path(kernel)
    except debian_kernel.Unavailable as failure:
        progress.say(f"    skipped: {failure}")
        return Absent(failure), "skipped"
    modules, _ = build.modules_path(kernel, path)
    return (path / pathlib.Path(kernel.image).name, modules, module_tree(path)), how


def module_tree(built):
    """The folder of a kernel's own modules; None for a kernel that has none."""
    return next((built / "lib/modules").glob("*"), None)


def load(names):
    """The lanes of these names; a wrong one is told the right ones."""
    known = lanefile.names() + lanefile.selfcheck_names()
    for name in names:
        if name.partition("@")[0] not in known:
            raise Failure(f"there is no lane {name}; there are {' '.join(lanefile.names())}")
    return [lanefile.load(name) for name in names]


def build_lanes(names):
    """Build what the lanes need.

    Returns {lane: (kernel image, qemu, initramfs, modules or None, tree of the
    kernel's own modules or None, suite or None)}, with an Absent in the place of what
    belongs to a lane that has to be skipped.
    """
    lanes = load(names)
    images, qemus, guests, suites = build_products(
        {lane.kernel.name: lane.kernel for lane in lanes}, {lane.release for lane in lanes},
        {lane.kernel.arch for lane in lanes if lane.suite})
    products = {}
    for lane in lanes:
        made, qemu = images[lane.kernel.name], qemus[lane.release]
        suite = suites[lane.kernel.arch] if lane.suite else None
        missing = [product for product in (made, qemu, suite) if isinstance(product, Absent)]
        products[lane.name] = missing[0] if missing else (
            made[0], qemu / lane.kernel.qemu, guests[lane.kernel.arch] / "initramfs",
            *made[1:], suite)
    return products


def build_products(kernels, releases=("",), suites=()):
    """Build kernels, releases of QEMU ("" is that of the series), the programs of the
    kernels' architectures, and the newest kernel's for those in `suites`; four tables."""
    refuse_release()
    archs = sorted({kernel.arch for kernel in kernels.values()})
    steps = progress.Progress(2 + len(kernels) + len(releases) + len(archs) + len(suites))
    wanted = packages.BUILD + [p for a in archs if build.compiler(a) for p in packages.CROSS[a]]
    with lock.of_out("builds"):
        steps.step("packages", packages.install, wanted)
        steps.step("base trees", lambda: [base.repository(n) for n in ("linux", "qemu")])
        images = {name: steps.step(f"kernel {name}", kernel_or_absent, kernel)
                  for name, kernel in sorted(kernels.items())}
        qemus = {release: steps.step(f"QEMU {release}".strip(), qemu_or_absent, release)
                 for release in sorted(releases)}
        guests = {a: steps.step(f"guest programs {a}", build.guest_path, a) for a in archs}
        newest = {a: steps.step(f"newest kselftests {a}", suite_or_absent, a)
                  for a in sorted(suites)}
    steps.table()
    return images, qemus, guests, newest


def cmd_path(what, kernel):
    """Build one product; its path alone goes to the standard output."""
    progress.SCREEN.stream = sys.stderr
    with lock.of_out("builds"):
        if what == "kernel":
            if kernel not in lanefile.kernel_names():
                raise Failure(f"there is no kernel {kernel}; there are "
                              f"{' '.join(lanefile.kernel_names())}")
            path = kernel_path(lanefile.load_kernel(kernel))[0]
        elif what == "qemu":
            path = build.qemu_path()[0]
        elif what == "guest":
            path = build.guest_path(kernel)[0]
        else:
            raise Failure(f"there is no product {what}; there are kernel, qemu and guest")
    print(path)


def kernel_in_cache(kernel):
    """Where a kernel is once it is there; None if it cannot be told."""
    if kernel.debian:
        return debian_kernel.cached(kernel.debian, kernel.arch)
    if kernel.stock:
        source = stock_kernel.cached()
        return stock_kernel.place(kernel, source) if source else None
    return build.kernel_place(kernel)


def used_products():
    """What the lanes of this clone take from the cache, as far as it can be told
    without fetching anything."""
    used = set()

    def note(func, *args):
        with contextlib.suppress(Failure, OSError):
            path = func(*args)
            if path:
                used.add(path)
            return path
        return None

    os.environ["OFFLINE"] = "1"
    for name in ("linux", "qemu"):
        note(base.repository, name)
    for name in lanefile.kernel_names():
        kernel = lanefile.load_kernel(name)
        made = note(kernel_in_cache, kernel)
        if made and kernel.modules:
            note(build.modules_place, kernel, made)
        note(build.guest_place, kernel.arch)
        found = note(build.busybox, kernel.arch)
        if found:
            used.add(found.parent)
    for arch in {lane.kernel.arch for lane in map(lanefile.load, lanefile.names())
                 if lane.suite}:
        note(stock_kernel.suite_in_cache, arch)
    for release in {lanefile.load(name).release for name in lanefile.names()}:
        with base.qemu_release(release):
            note(base.repository, "qemu")
            note(build.qemu_place)
    with contextlib.suppress(Failure, OSError):
        used.update(bench.kept())
    return used


def boot_options(kernel, image, qemu_key, qemu, initramfs):
    """What lib/lane and lib/mutants boot a kernel with."""
    return ["--kernel", f"{kernel.name}={image}", "--qemu", f"{qemu_key}={qemu}",
            "--initramfs", f"{kernel.arch}={initramfs}"]


def firmware_options():
    return [option for path in host.firmware() for option in ("--data", path)]


def machine_options(products):
    """What lib/lane has to know of the products."""
    args = []
    for name, product in products.items():
        lane = lanefile.load(name)
        kernel = lane.kernel
        if isinstance(product, Absent):
            absent = (f"qemu-{lane.release}" if isinstance(product, AbsentQemu) else
                      f"suite-{lane.suite}" if isinstance(product, AbsentSuite) else
                      kernel.name)
            args += ["--absent", f"{absent}={product}"]
            continue
        image, qemu, initramfs, modules, tree, suite = product
        args += boot_options(kernel, image, lane.qemu_key, qemu, initramfs)
        if modules:
            args += ["--modules", f"{kernel.name}={modules}"]
        if tree:
            args += ["--module-tree", f"{kernel.name}={tree}"]
        if suite:
            args += ["--suite", f"{lane.suite}-{kernel.arch}={suite}"]
    return args + firmware_options()


def guest_file(path):
    """A program of the user's own, which lib/lane puts into the machine."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise Failure(f"FILE={path} is no file; name a program, linked with -static")
    return ["--file", str(file.resolve())]


def count_option(name, text, most=None):
    if not host.is_number(text) or int(text) < 1 or (most and int(text) > most):
        raise Failure(f"{name}={text} is no number from 1 {f'to {most}' if most else 'on'}")
    return [f"--{name.lower().replace('_', '-')}", text]


# Each is a machine with two processors and some gigabytes
MOST_AT_ONCE = 64
RUN, SELFCHECK = {"run": "'make lanes'"}, {"selfcheck": "'make selfcheck'"}
SOAK, BENCH = {"soak": "'make soak'"}, {"bench": "'make bench'"}
RESULTS = {**RUN, **SELFCHECK, **SOAK}
SOAK_OPTIONS = ("faults", "overflows", "minutes", "seed")
# what lib/lane would refuse, after all has been built
OPTIONS_OF = {"only": {**RUN, **BENCH}, "load": RUN, "repeat": RUN,
              "at_once": {**RUN, **SELFCHECK}, "json": {**RESULTS, **BENCH}, "junit": RESULTS,
              "file": {"shell": "'make shell'"}, "demo": {"demo": "'make run'"},
              **dict.fromkeys(SOAK_OPTIONS, SOAK)}


def passed_on(command, opts):
    """Options that are lib/lane's own business."""
    for name, commands in OPTIONS_OF.items():
        if getattr(opts, name, None) and command not in commands:
            raise Failure(f"{name.upper()}= is for {' and '.join(commands.values())}, "
                          "leave it out")
    args = []
    if opts.only:
        args += ["--only", opts.only]
    if opts.load:
        args += count_option("LOAD", opts.load, MOST_LOAD)
    if opts.repeat:
        args += count_option("REPEAT", opts.repeat)
    if opts.at_once:
        args += count_option("AT_ONCE", opts.at_once, MOST_AT_ONCE)
    for name in SOAK_OPTIONS:
        if getattr(opts, name, None):
            args += count_option(name.upper(), getattr(opts, name))
    for name in ("json", "junit"):
        if getattr(opts, name):
            args += [f"--{name}", writable(getattr(opts, name), name.upper())]
    if opts.file:
        args += guest_file(opts.file)
    return args


def writable(path, variable):
    """A result file is refused now, not after an hour."""
    path = os.path.abspath(path)
    new = not os.path.lexists(path)
    try:
        with open(path, "a", encoding="utf-8"):
            pass
        if new:
            os.unlink(path)     # an empty file is no result, should we fail before there is one
    except OSError as error:
        raise Failure(f"{variable}={path}: {error.strerror}; name a file that can be "
                      "written") from error
    return path


def lanes_of(command, names, demo=None):
    """The lanes that a command is for; refuses those that it can do nothing with. `demo` is
    the name of one of several demonstrations."""
    if command == "selfcheck":
        return names or lanefile.selfcheck_names()
    if command == "run":
        load([name.partition("@")[0] for name in names])
        return lanefile.expand(names) or lanefile.usual_names()
    if len(names) != 1:
        raise Failure(f"{command} wants one lane; there are {' '.join(lanefile.names())}")
    if command == "trace":
        return [lanefile.demo_lanes(load(names)[0].name)[0].name]
    if command == "demo":
        if names != ["all"]:
            load(names)
        if demo:
            return [lanefile.demo_of(names[0], demo).name]
        return [lane.name for lane in lanefile.demo_lanes(names[0])]
    load(names)
    if command == "soak":
        lanefile.soak_lane(names[0])
    return names


def mutants_command(opts):
    """Build the kernels of mutants, and return the call of lib/mutants that is to follow."""
    if opts.load or opts.repeat or opts.file:
        raise Failure("of ONLY=, AT_ONCE=, LOAD=, REPEAT= and FILE=, 'make mutants' takes "
                      "ONLY= and AT_ONCE=")
    at_once = count_option("AT_ONCE", opts.at_once or str(several()), MOST_AT_ONCE)
    archs = mutantfile.architectures_of(mutantfile.chosen(opts.only or ""))
    kernels = {kernel.name: kernel for kernel in build.mutants_kernels() if kernel.arch in archs}
    images, qemus, guests, _ = build_products(kernels)
    call = [TESTBED / "lib/mutants", "--out", host.claim_out() / "log/mutants"]
    for name, kernel in kernels.items():
        call += boot_options(kernel, images[name][0], kernel.arch, qemus[""] / kernel.qemu,
                             guests[kernel.arch] / "initramfs")
    call += firmware_options() + at_once
    return [str(a) for a in call + (["--only", opts.only] if opts.only else [])]


def refresh_mutants():
    """Write the diffs anew from every tree that was made of them."""
    kernels = [kernel for kernel in build.mutants_kernels()
               if on_top.is_made("linux", kernel.name)]
    if not kernels:
        raise Failure("there is no tree of mutants; 'make mutants' makes it")
    for kernel in kernels:
        on_top.refresh("linux", kernel.name, build.patches(kernel))


def several():
    """How many lanes at a time make the best of this machine, when nobody looks on. Each
    keeps about one processor busy."""
    return min(int(host.jobs()), 4)


def lane_command(command, wanted, opts):
    """Build, and return the call of lib/lane that is to follow."""
    names = lanes_of(command, wanted, opts.demo)
    options = passed_on(command, opts)
    return lane_call(command, wanted, options, build_wanted(names))


def build_wanted(names):
    """build_lanes(), if this machine can boot them as it is asked to."""
    if os.environ.get("KVM") == "1":
        for lane in load(names):
            host.check_kvm(lane.kernel.arch)
    return build_lanes(names)


def lane_call(command, wanted, options, products):
    """The call of lib/lane for lanes whose products are there, all of them. `options` are
    those of passed_on(), which are refused before anything is built."""
    # lib/lane keeps the logs of its last runs there, each in a folder of its own
    place = host.claim_out() / "log" / ("selfcheck" if command == "selfcheck" else "lanes")
    if command == "trace":
        options += ["--trace", host.out() / f"trace-{list(products)[0]}.json"]
    return [str(a) for a in (TESTBED / "lib/lane", command, *machine_options(products), *options,
                             "--out", place, *(["all"] if wanted == ["all"] else products))]


def boot(command, names, opts):
    """Hand over to lib/lane, which boots the lanes and judges them."""
    call = (mutants_command(opts) if command == "mutants" else
            lane_command(command, names, opts))
    sys.stdout.flush()
    if command == "shell":
        # the terminal is the machine's now, and nothing is left for us to do
        os.execv(call[0], call)
    with process.child(call) as proc:
        status = proc.wait()
    if status < 0:
        raise Failure(f"lib/lane was killed by signal {-status}: is memory short? "
                      "the lanes have no result")
    return status


def add_options(parser):
    parser.add_argument("-q", "--quiet", action="store_true",
                        help="only failures and results (also Q=1 in the environment)")
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="the output of all commands (also V=1 in the environment)")
    parser.add_argument("--json", metavar="FILE", default=os.environ.get("JSON"),
                        help="results as JSON")
    parser.add_argument("--junit", metavar="FILE", default=os.environ.get("JUNIT"),
                        help="results as JUnit XML")


def apply_options(opts):
    host.jobs()         # a wrong number is refused before anything begins
    if opts.quiet:
        os.environ["Q"] = "1"
    if opts.verbose:
        os.environ.update(V="1", Q="")


def try_builds():
    """Configure kernel and QEMU and compile a part of each, to be thrown away: what
    a machine lacks for the builds shows in that."""
    log, steps = host.log("try.log"), progress.Progress(2)

    def try_kernel():
        with build.build_folder(host.out() / "build/try-linux", keep=False) as work:
            make = build.configure_kernel(lanefile.load_kernel("x86"), work, log)
            process.logged([*make, f"-j{host.jobs()}", "prepare", "drivers/iommu/"], log,
                           env=build.build_env(), what="a part of the kernel")

    def try_qemu():
        with build.build_folder(host.out() / "build/try-qemu", keep=False) as work:
            env = build.configure_qemu(work, log)
            build.ninja(work, log, env, ["libqemuutil.a"])

    with lock.of_out("tries the builds"):
        steps.step("a part of the kernel", try_kernel)
        steps.step("a part of QEMU", try_qemu)


def deb_kernel():
    """linux-image and linux-headers packages of the patched kernel, in out/deb."""
    steps = progress.Progress(4)
    steps.step("packages", packages.install, packages.BUILD + kernel_deb.PACKAGES)
    repo = base.repository("linux")
    text, origin = kernel_deb.base_config(repo)
    log = host.log("deb-kernel.log")
    with lock.of_out("builds kernel packages"), build.build_folder(
            host.out() / "build/deb-kernel") as work:
        source = steps.step("series", series.built_tree, "linux")
        # LOCALVERSION= keeps the state of the tree out of the name
        make = ["make", "-C", source, f"O={work}", "ARCH=x86", f"CC={build.cc()}",
                f"HOSTCC={build.cc()}", "LOCALVERSION=", f"-j{host.jobs()}"]

        def configuration():
            build.refuse_lost(kernel_deb.configure(make, work, text, build.build_env(), log),
                              work)
            return work, f"from {origin}"

        steps.step("configuration", configuration)
        release = base.version(repo, "linux").split()[1]
        made = steps.step("kernel, modules and packages", kernel_deb.pack, make, work,
                          host.out() / "deb", kernel_deb.package_version(release),
                          build.build_env(), log)
    for deb in made:
        print(deb)


def command_line():
    """The parser of scripts/build; with a command and nothing else it gives the options of
    somebody who leaves all to it."""
    parser = Parser(prog="build", description=__doc__)
    parser.add_argument("command", choices=[
        "deps", "lane", "list", "path", "run", "demo", "trace", "shell", "soak", "selfcheck",
        "mutants", "refresh-mutants", "bench", "deb-kernel", "try"])
    parser.add_argument("names", nargs="*")
    add_options(parser)
    parser.add_argument("--only", metavar="GLOB",
                        help="run: only the tests of this name; mutants, bench: only those")
    parser.add_argument("--load", metavar="N", help="run: beside N processes that load the CPUs")
    parser.add_argument("--repeat", metavar="N", help="run: so many times")
    parser.add_argument("--at-once", metavar="N",
                        help="run, selfcheck, mutants: so many lanes at a time")
    parser.add_argument("--file", metavar="PROGRAM", help="shell: a program to have there")
    parser.add_argument("--demo", metavar="NAME",
                        help="demo: one of the lane's demonstrations that are lanes of their own")
    for name in SOAK_OPTIONS:
        parser.add_argument(f"--{name}", metavar="N", help="soak: see 'lib/lane soak --help'")
    return parser


def main():
    opts = command_line().parse_args()
    apply_options(opts)
    try:
        return dispatch(opts)
    except lanefile.TestbedError as error:
        raise Failure(str(error)) from error


def dispatch(opts):
    if opts.command == "deps":
        packages.install(packages.for_checks() if "checks" in opts.names else packages.BUILD)
    elif opts.command == "list":
        for lane in load(lanefile.names()):
            print(f"{lane.name:18} {'demo' if lane.has_demo else '':5} {lane.about}")
    elif opts.command == "lane":
        for name, product in build_lanes(opts.names).items():
            print(name, *(["skipped:", product] if isinstance(product, Absent)
                          else filter(None, product)))
    elif opts.command == "refresh-mutants":
        refresh_mutants()
    elif opts.command == "bench":
        passed_on("bench", opts)
        refuse_release()
        return bench.measure(opts.json, opts.only)
    elif opts.command == "deb-kernel":
        deb_kernel()
    elif opts.command == "try":
        try_builds()
    elif opts.command == "path":
        if not opts.names:
            raise Failure("path wants kernel, qemu or guest")
        cmd_path(opts.names[0], (opts.names[1:] or ["x86"])[0])
    else:
        return boot(opts.command, opts.names, opts)
    return 0

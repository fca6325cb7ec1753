# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""The checks, each with what it reads and what runs in it; CHECKS is the list."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections import namedtuple

import check_readme
from iopf import (base, build, deb, docs, exports, fresh, host, model_mutants, on_top, packages,
                  process, series, structure, vmstate)
from iopf.cache import digest, digest_files
from iopf.errors import Failure
from iopf.host import REPO
from iopf.patches import BUILD_IDENT, SERIES, patched_paths
from iopf.process import logged, run
from iopf.results import Kept
from iopf.testbed import TESTBED, Count, lanefile


def sources(*patterns):
    """Files that git knows or would take, by glob patterns."""
    return [REPO / name for name in process.git_files(REPO, *patterns)]


ARCHS = ("x86", "arm64")
# What is compiled for arm64 alone
ARM = ("arch/arm64/", "drivers/iommu/arm/", "drivers/pci/of.")


def kernel_fragments(arch):
    """Of the kernel of the lanes, which is named like its architecture."""
    return build.fragments(lanefile.load_kernel(arch))


def kernel_key():
    repo = base.repository("linux")
    return digest(base.tree_id(repo), SERIES["linux"].key(base.version(repo, "linux")),
                  digest_files([*(f for arch in ARCHS for f in kernel_fragments(arch)),
                                *tools()], REPO))


def tools():
    """What builds and checks; the lane runner and the tests are none of it."""
    return [f for f in scripts_of("python") if REPO / "scripts" in f.parents
            and not f.name.startswith("test_")]


# ---- scripts -----------------------------------------------------------------

def scripts_of(kind):
    found = []
    for file in sources("scripts", ".ci", "tools/testing/iopf", "tools/iommu"):
        if file.is_symlink():
            continue
        with open(file, "rb") as text:
            first = text.readline(200)
        if file.suffix == ".py" and kind == "python" or first.startswith(b"#!") and (
                kind.encode() in first):
            found.append(file)
    return found


def check_shellcheck(log):
    logged(["shellcheck", "-x", *scripts_of("sh")], log, what="shellcheck")


def check_python(log):
    for file in scripts_of("python"):
        compile(file.read_text(encoding="utf-8"), str(file), "exec")
    logged([sys.executable, "-m", "unittest", "discover", "-q", "-s", TESTBED / "lib"], log,
           cwd=TESTBED / "lib", what="unit tests of the testbed")
    logged([sys.executable, "-m", "unittest", "discover", "-q", "-s", REPO / "scripts"], log,
           cwd=REPO / "scripts", what="unit tests of the scripts")


def check_words(log):
    """Nothing that belongs to one machine or to nobody may get in."""
    bad = re.compile(r"/work/|https?://(deb|security|snapshot|ftp)[\w.]*\.debian\.org|"
                     r"registry\.npmjs")
    found = [f"{file}:{number}: {line.strip()}" for file in sources(".")
             if not file.is_symlink() and file.name != "checks.py"
             for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
             if bad.search(line)]
    log.write_text("\n".join(found) + "\n")
    if found:
        raise Failure(f"a path or host of one machine: {found[0]}", 1)


def check_readme_commands(log):
    check_readme.check(log)


# ---- series and mails ----------------------------------------------------------

def check_series(log):
    for name in SERIES:
        logged([sys.executable, REPO / "scripts/series", "check", name], log,
               what=f"series check {name}")


def check_mutants_fit(_log):
    """The diffs of both kinds of mutants apply to the series as they are now."""
    diffs = {"linux": [build.patches(kernel) for kernel in build.mutants_kernels()],
             "qemu": [[m.file] for m in model_mutants.every()]}
    count = 0
    for name, groups in diffs.items():
        repo = base.repository(name)
        tip, version = series.commit_series(repo, SERIES[name], BUILD_IDENT)
        for group in groups:
            on_top.commit(repo, tip, group, version)
            count += len(group)
    return Count(count)


def mails(name):
    """The mails of a series, without its cover letter."""
    dest = host.out() / "check/mbox" / name
    run([REPO / "scripts/series", "mbox", name, "--anonymous", "--output", dest])
    return sorted(dest.glob("0*.patch"))


def check_git_am(name, log):
    """git am takes the mails on what they are for, and gives the series' tree."""
    repo = base.repository(SERIES[name].base)
    work = host.out() / "check" / f"am-{name}"
    shutil.rmtree(work, ignore_errors=True)
    base.shared_clone(repo, work)
    git = ["git", "-C", work, "-c", "user.name=check", "-c", "user.email=check@localhost"]
    run([*git, "sparse-checkout", "set", "--no-cone", *[f"/{p}" for p in patched_paths(name)]])
    below = series.start(repo, SERIES[name], base.version(repo, SERIES[name].base))
    run([*git, "checkout", "-q", "--detach", below])
    logged([*git, "am", "-q", *mails(name)], log, what=f"git am of the {name} mails")
    tip = series.commit_series(repo, SERIES[name], BUILD_IDENT)[0]
    want = run(["git", "-C", repo, "rev-parse", f"{tip}^{{tree}}"])
    have = run([*git, "rev-parse", "HEAD^{tree}"])
    if want != have:
        raise Failure(f"git am of the {name} mails gives another tree than series apply", 1)


# FILE_PATH_CHANGES asks for people in MAINTAINERS, this project names none;
# EMBEDDED_FILENAME takes the path in a Kconfig "source" line for a comment;
# UNKNOWN_COMMIT_ID looks for what Fixes: names, and the base has no history.
CHECKPATCH = {"linux": ["--strict", "--codespell", "--ignore",
                        "FILE_PATH_CHANGES,EMBEDDED_FILENAME,UNKNOWN_COMMIT_ID"],
              "qemu": ["--strict"]}


def for_each(items, command, cwd, **kw):
    """Lines of a command that is run for each item, in place of {}, as many at a time as
    there are jobs: for tools that use one processor. Output of two may be mixed, and that
    one says no is no failure here."""
    if not shutil.which(command[0]):
        raise Failure(f"there is no {command[0]} here")
    # xargs ends at a status of 255
    each = ["sh", "-c", '"$@" || exit 1', "sh", *command]
    with process.child(["xargs", "-0", "-P", host.jobs(), "-I{}", *each], cwd=cwd,
                       encoding="utf-8", errors="replace", stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, **kw) as proc:
        said = proc.communicate("\0".join(map(str, items)))[0].splitlines()
    if proc.returncode not in (0, 123):
        raise Failure(f"{command[0]} for each of {len(items)}: xargs ended with status "
                      f"{proc.returncode}; {said[-1] if said else 'nothing said'}")
    return said


def check_checkpatch(name, log):
    tree = series.built_tree(name)
    files = mails(name)
    said = for_each(files, ["perl", "scripts/checkpatch.pl", "--no-summary", "--terse",
                            *CHECKPATCH[SERIES[name].base], "{}"], tree, stderr=subprocess.STDOUT)
    bad = sorted(line.replace(f"{files[0].parent}/", "") for line in said
                 if re.search(r"(ERROR|WARNING|CHECK):", line)
                 and "MAINTAINERS need" not in line
                 and "'Nd' may be misspelled" not in line)    # a macro of manual pages
    log.write_text("".join(f"{line}\n" for line in bad))
    if bad:
        raise Failure(f"checkpatch of the {name} mails: {len(bad)} remarks, the first: {bad[0]}", 1)


# ---- kernel ----------------------------------------------------------------------

def new_files(suffix, name="linux"):
    return [p for p in patched_paths(name) if p.endswith(suffix)
            and SERIES[name].here(p).is_file()]


# Compiles with KASAN alone, as the debug kernels of the lanes do it
DEBUG_ONLY = "mm/kasan/"


def objects():
    """Objects of the kernel proper that the series adds or touches."""
    return sorted({p[:-2] + ".o" for p in patched_paths("linux")
                   if p.endswith(".c") and not p.startswith(("tools/", DEBUG_ONLY))})


def write_fragment(work, arch="x86"):
    """What the lane's kernel has."""
    merged = work / "iopf.fragment"
    merged.write_text("".join(f.read_text() for f in kernel_fragments(arch)))
    return merged


def folders(arch):
    """What is built where the whole kernel would take too long: where the series is at home."""
    return ["drivers/iommu/", "drivers/vfio/", "drivers/pci/", "samples/", "mm/",
            *["arch/x86/mm/"] * (arch != "arm64")]


def kernel_make(tree, work, arch):
    cross = build.compiler("x86" if arch == "i386" else arch)
    return ["make", "-C", tree, f"O={work}", f"ARCH={arch}", f"CROSS_COMPILE={cross}",
            f"CC={build.cc(cross)}", f"HOSTCC={build.cc()}", f"-j{host.jobs()}"]


def remarks(tree, work, arch, what, log):
    """Messages of W=1 and sparse for the touched objects, without line numbers."""
    merged = write_fragment(work, arch)
    make = kernel_make(tree, work, arch)
    env = build.build_env()
    logged([*make, "allnoconfig"], log, env={**env, "KCONFIG_ALLCONFIG": str(merged)})
    logged([*make, "prepare"], log, env=env, what="make prepare")
    have = [o for o in objects() if (pathlib.Path(tree) / (o[:-2] + ".c")).exists()
            and o.startswith(ARM) == (arch == "arm64")]
    if not have:
        return []
    part = log.with_suffix(f".{what}")
    part.unlink(missing_ok=True)
    for name in have:
        (work / name).unlink(missing_ok=True)   # what is not compiled has no remarks
    # CHECK=sparse with C=2 also looks at objects that ccache has compiled before
    logged([*make, "-k", "W=1", "C=2", *have], part, env=env, what="W=1 C=2")
    return [plain_remark(line, tree, work) for line in part.read_text().splitlines()
            if re.search(r"\b(warning|error):", line)]


def plain_remark(line, tree, work):
    """The same text for the base and for the series: from the tree's top, whether make
    names it by its whole path (sparse) or from the build's folder (gcc); no line numbers."""
    for top in (tree, os.path.relpath(tree, work)):
        line = line.replace(f"{top}/", "")
    return re.sub(r":\d+(:\d+)?:", ":", line)


def check_warnings(log):
    """sparse and W=1 say nothing about the series that they do not say about the base."""
    tree = series.built_tree("linux")
    top = host.out() / "check"
    pristine = base.scratch_checkout(base.repository("linux"), top / "linux-base")
    before, after = [], []
    for arch in ARCHS:
        with build.build_folder(top / f"build-base-{arch}") as work:
            before += remarks(pristine, work, arch, f"before-{arch}", log)
        with build.build_folder(top / f"build-series-{arch}") as work:
            after += remarks(tree, work, arch, f"after-{arch}", log)
    with build.build_folder(top / "build-series-x86") as work:
        structure.refuse_circle(structure.of_objects(sorted(
            (work / "drivers/iommu").glob("iopf-*.o"))))
    for line in before:
        if line in after:
            after.remove(line)
    if after:
        raise Failure(f"new remark of W=1 or sparse: {after[0]}", 1)


def check_kernel_doc(log):
    tree = series.built_tree("linux")
    files = new_files((".c", ".h"))
    ours = [p for p in files if not git_has(p)]
    logged(["scripts/kernel-doc", "-none", "-Wall", *ours], log, cwd=tree, what="kernel-doc")
    said = [line for line in log.read_text().splitlines() if ": warning:" in line]
    if said:
        raise Failure(f"kernel-doc: {said[0]}", 1)


def git_has(path):
    return bool(run(["git", "-C", base.repository("linux"), "ls-tree", "refs/tags/base", "--",
                     path]))


def check_coccinelle(log):
    tree = series.built_tree("linux")
    # in tools/ the kernel's helpers that the scripts propose do not exist
    ours = [p for p in new_files(".c") if not git_has(p) and not p.startswith("tools/")]
    scripts = [p for p in sorted((tree / "scripts/coccinelle").rglob("*.cocci"))
               if "virtual report" in p.read_text()]
    said = for_each(scripts, ["spatch", "-D", "report", "--very-quiet", "--no-includes",
                              "--include-headers-for-types", "--cocci-file", "{}", *ours],
                    tree, stderr=subprocess.DEVNULL)
    said = sorted(line for line in said if re.match(r"\S+:\d+", line))
    log.write_text("\n".join(said) + "\n")
    if said:
        raise Failure(f"coccicheck: {said[0]}", 1)


def check_patches(log):
    """Each patch of the kernel series builds, one after the other; a tree that was
    built before, by this compiler, is not built again."""
    repo = base.repository("linux")
    tip, _ = series.commit_series(repo, SERIES["linux"], BUILD_IDENT)
    for arch in ARCHS:
        with build.build_folder(host.out() / f"check/build-patches-{arch}") as work:
            build_patches(repo, tip, host.out() / "check/linux-patches", work, arch, log)


def build_patches(repo, tip, tree, work, arch, log):
    merged = write_fragment(work, arch)
    make, env = kernel_make(tree, work, arch), build.build_env()
    commits = run(["git", "-C", repo, "rev-list", "--reverse", f"refs/tags/base..{tip}"]).split()
    built_by = digest(machine_key(PATCH_BUILD), arch, merged.read_text(), *folders(arch))
    configured = False
    for commit in commits:
        title, *changed = run(["git", "-C", repo, "show", "--format=%s", "--name-only",
                               commit]).split("\n")
        if not is_compiled(changed, arch):
            continue
        kept = Kept(f"kernel-patch-{arch}", digest(built_by, compiled_tree(repo, commit)))
        if not forced() and kept.load():
            configured = False      # by a patch that is built no more, perhaps otherwise
            continue
        base.scratch_checkout(repo, tree, commit)
        if not configured or any("Kconfig" in path for path in changed):
            logged([*make, "allnoconfig"], log, env={**env, "KCONFIG_ALLCONFIG": str(merged)})
            configured = True
        logged([*make, "prepare", *folders(arch)], log, env=env, what=f"build of '{title}'")
        kept.store(Count(1))


# What stands beside the kernel and is no part of it
BESIDE = ("MAINTAINERS", "Documentation/", "tools/")


def is_compiled(paths, arch):
    """Whether a change of these files concerns the kernel; arm64 has to build only what
    x86 does not."""
    return any(path.startswith(ARM) == (arch == "arm64") for path in paths
               if path and not path.startswith(BESIDE))


def compiled_tree(repo, commit):
    """What the build of a commit reads, as one digest."""
    entries = run(["git", "-C", repo, "ls-tree", commit]).splitlines()
    beside = [name.rstrip("/") for name in BESIDE]
    return digest(*[entry for entry in entries if entry.split("\t")[1] not in beside])


# Configurations that no lane has: architecture, options beside those of the lane, and
# what has to be left of them, for a configuration that is not what it says tests nothing
CONFIGURATIONS = {
    "i386": ("i386", "", ["INTEL_IOMMU", "IOMMUFD", "VFIO_PCI"]),
    "without SVM": ("x86", "# CONFIG_INTEL_IOMMU_SVM is not set\n",
                    ["INTEL_IOMMU", "!INTEL_IOMMU_SVM"]),
    "without page faults": ("x86", "# CONFIG_INTEL_IOMMU is not set\n"
                            "# CONFIG_AMD_IOMMU is not set\n",
                            ["IOMMUFD", "VFIO_PCI", "!IOMMU_IOPF"]),
    "arm64": ("arm64", "CONFIG_ARM_SMMU_V3=y\nCONFIG_ARM_SMMU_V3_SVA=y\n",
              ["ARM_SMMU_V3_SVA", "IOMMU_IOPF", "IOMMUFD", "VFIO_PCI"]),
    "arm64 with a module": ("arm64", "CONFIG_MODULES=y\nCONFIG_ARM_SMMU_V3=m\n"
                            "CONFIG_ARM_SMMU_V3_SVA=y\nCONFIG_ARM_SMMU_V3_IOMMUFD=y\n",
                            ["MODULES", "!ARM_SMMU_V3", "ARM_SMMU_V3_SVA",
                             "ARM_SMMU_V3_IOMMUFD", "IOMMU_IOPF"]),
}
# Of the configurations with modules: what has to find all that it uses
MODULES = {"arm64 with a module": ("drivers/iommu/arm/arm-smmu-v3/arm_smmu_v3.o",)}


def check_configurations(log):
    """The series builds without a warning where no lane looks; our files under W=1, too."""
    tree = series.built_tree("linux")
    for name, (arch, options, wanted) in CONFIGURATIONS.items():
        with build.build_folder(host.out() / "check" / f"build-{name.replace(' ', '-')}") as work:
            build_configuration(tree, name, arch, options, wanted, work, log)


def build_configuration(tree, name, arch, options, wanted, work, log):
    merged, env = write_fragment(work), build.build_env()
    merged.write_text(f"{merged.read_text()}CONFIG_WERROR=y\n{options}")
    make = kernel_make(tree, work, arch)
    logged([*make, "allnoconfig"], log, env={**env, "KCONFIG_ALLCONFIG": str(merged)})
    config = (work / ".config").read_text().splitlines()
    wrong = [w for w in wanted if (f"CONFIG_{w.lstrip('!')}=y" in config) == w.startswith("!")]
    if wrong:
        raise Failure(f"configuration {name}: {wrong[0]} is not as it should be; see "
                      f"CONFIGURATIONS in {__file__}")
    logged([*make, "prepare", *folders(arch)], log, env=env, what=f"build for {name}")
    for module in MODULES.get(name, ()):
        exports.check_module(tree, f"{build.compiler(arch)}nm", [work / module])
    ours = [p[:-2] + ".o" for p in new_files(".c") if not git_has(p)]
    logged([*make, "W=1", *[o for o in ours if (work / o).exists()]], log, env=env,
           what=f"build with W=1 for {name}")


# ---- user space and QEMU ---------------------------------------------------------

def check_user(log):
    guest = build.guest_path("x86")[0]
    log.write_text(f"{guest}\n")
    source = series.built_tree("linux") / "tools/iommu"
    work = host.out() / "check/iommu"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    logged(["make", "-C", source, f"O={work}", "check"], log, what="tools/iommu check")
    for page in sorted((REPO / "tools/iommu").rglob("*.[1-8]")):
        logged(["mandoc", "-Tlint", "-Wwarning", page], log, what=f"mandoc of {page.name}")


# What differs between 32 and 64 bit, and is a warning elsewhere
WIDTH = "-O1 -g -Werror=" + " -Werror=".join(
    ("format", "int-to-pointer-cast", "overflow", "pointer-to-int-cast", "shift-count-overflow"))


def kernel_headers(dest):
    """The machine's kernel headers without those of its C library, for another one."""
    dest.mkdir(parents=True)
    machine = run(["gcc", "-print-multiarch"]).strip()
    for name, place in (("linux", "linux"), ("asm-generic", "asm-generic"),
                        ("asm", f"{machine}/asm" if machine else "asm")):
        (dest / name).symlink_to(pathlib.Path("/usr/include") / place)
    return f"KHDR_INCLUDES=-isystem {dest}"


def check_user_ports(log):
    """Program and library with musl and for 32 bit: they build, and their tests pass."""
    source = series.built_tree("linux") / "tools/iommu"
    work = host.out() / "check/iommu-ports"
    shutil.rmtree(work, ignore_errors=True)
    make = ["make", "-C", source, f"-j{host.jobs()}", f"CFLAGS={WIDTH}"]
    # there is no C++ library for musl
    logged([*make, f"O={work}/musl", "CC=musl-gcc", "CXX=", kernel_headers(work / "headers"),
            "check"], log, what="tools/iommu with musl")
    cross = shutil.which("i686-linux-gnu-gcc")      # or there is gcc-multilib
    make += [f"CC={'i686-linux-gnu-gcc' if cross else 'gcc -m32'}", "CXX="]
    logged([*make, f"O={work}/32-shared", "all"], log, what="tools/iommu for 32 bit")
    # static, because the machine need not have the libraries; only x86 can run it
    logged([*make, f"O={work}/32", "LDFLAGS=-static",
            "check" if host.machine() == "x86" else "all"], log, what="tools/iommu on 32 bit")


def check_deb(log):
    """`make deb`: the packages build, their tests pass, lintian finds nothing."""
    packages.install(deb.PACKAGES)
    made = deb.build_packages(host.jobs())
    log.write_text("".join(f"{path}\n" for path in made))
    return Count(len(made))


# Tests of QEMU's own that are not run, for one target or for all, or that may skip, and why
QTESTS_LEFT_OUT = {
    "qtest-aarch64/bios-tables-test": "wants firmware for UEFI, which QEMU's source package has "
                                      "not",
    "migration-test": "takes longer than all others together, and nothing of the series migrates",
    "usb-hcd-uhci-test": "wants USB devices that are not in the list of the lanes",
}
QEMU_SKIPS = {
    "test-io-channel-command": "wants socat",
    "test-crypto-pbkdf": "wants a crypto library that can, which is not configured",
    "cdrom-test": "wants genisoimage",
    "device-plug-test": "wants a machine with hotplug on its root bus, which is not in the list",
}


def qemu_tests(meson, work, env):
    """QEMU's unit tests and qtests: {name in meson: executable}."""
    found = {}
    for test in json.loads(run([meson, "introspect", "--tests"], cwd=work, env=env)):
        program = pathlib.Path(test["cmd"][0])
        if work / "tests" in program.parents and (
                {"qemu:unit", "qemu:qtest"} & set(test["suite"])) and not (
                {program.name, test["name"]} & set(QTESTS_LEFT_OUT)):
            found[test["name"]] = program
    return found


def check_qemu(log):
    """QEMU's tests with ours among them, under the sanitizers where our code is at work."""
    with build.build_folder(host.out() / "build/qemu-asan", keep=False) as work:
        return test_qemu(work, log)


def test_qemu(work, log):
    env = build.configure_qemu(work, log, sanitized=build.sanitized_folders())
    env.update(ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
    meson = work / "pyvenv/bin/meson"
    tests = qemu_tests(meson, work, env)
    build.ninja(work, log, env, [*build.qemu_binaries(),
                                 *sorted({p.relative_to(work) for p in tests.values()})])
    refuse_unsanitized(work)
    structure.refuse_circle(structure.of_objects(sorted(
        (work / "libcommon.a.p").glob("*iopf-testdev*.o"))))
    build.link_firmware(work)
    logged([meson, "test", "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", "20",
            "--num-processes", host.jobs(), *tests], log, cwd=work, env=env,
           what="QEMU unit tests and qtests")
    return judge_qemu(work / "meson-logs/testlog.json", set(tests))


def refuse_unsanitized(work):
    """A build that lost the sanitizers' options would pass every test."""
    for folder in build.sanitized_folders():
        if folder.startswith("tests/"):
            continue        # meson names these in another way; the options are the same
        prefix = folder.replace("/", "_")
        objects = [*work.glob(f"lib*.p/{prefix}_*.c.o"), *work.glob(f"lib*.p/*/{prefix}_*.c.o")]
        plain = [o for o in objects if b"__asan_" not in o.read_bytes()]
        if plain or not objects:
            raise Failure(f"{plain[0].name if plain else folder} was built without the sanitizers")


def judge_qemu(results, wanted):
    """Every test ran, none skipped without a reason, no sanitizer complained."""
    count = Count()
    for line in results.read_text().splitlines():
        test = json.loads(line)
        name = test["name"].split(" / ")[-1]
        wanted.discard(name)
        said = re.search(r"^.*runtime error:.*$|^.*AddressSanitizer:.*$",
                         test.get("stdout", "") + test.get("stderr", ""), re.M)
        if said:
            raise Failure(f"{name}: {said[0].strip()}", 1)
        if test["result"] == "SKIP":
            if name.rpartition("/")[2] not in QEMU_SKIPS:
                raise Failure(f"{name} was skipped, and scripts/check knows no reason", 1)
            count.skipped += 1
        else:
            count.passed += 1
    if wanted:
        raise Failure(f"{sorted(wanted)[0]} did not run", 1)
    return count


# ---- a first run ----------------------------------------------------------------

def check_fresh(log):
    return Count(fresh.check(log, full=os.environ.get("FRESH") == "full"))


# ---- documentation ---------------------------------------------------------------

def check_pages(name, log):
    docs.check_pages(series.built_tree(name), name, patched_paths(name),
                     host.out() / "check/docs" / name, log)


def check_pictures(log):
    docs.check_pictures([series.built_tree(name) for name in ("linux", "qemu")], log)


# ---- all -------------------------------------------------------------------------------

def testbed_key():
    return digest_files([*scripts_of("python"), *scripts_of("sh")], REPO)


def everything_key():
    return digest_files([f for f in sources(".") if not f.is_symlink()], REPO)


def lane_key(name, product):
    """Of what a lane boots and of all that judges it. A product lies in the cache under a
    key of all that it was made of; without one, or with one from elsewhere, there is none."""
    if isinstance(product, str):
        return None
    cache = host.cache().resolve()
    paths = [pathlib.Path(path).resolve() for path in product if path]
    if not all(path.is_relative_to(cache) for path in paths):
        return None
    return digest(repr(lanefile.load(name)), *(str(path.relative_to(cache)) for path in paths),
                  digest_files(testbed_sources(), REPO), os.environ.get("KVM", ""),
                  machine_key(QEMU_BUILD))


def testbed_sources():
    """What runs the lanes, without its tests."""
    return [file for file in sources("tools/testing/iopf/lib")
            if not file.name.startswith("test_")]


def fresh_key():
    return digest(everything_key(), os.environ.get("FRESH", ""))


def mails_key(name):
    """Messages count here, and for nothing else."""
    files = sorted(p for p in SERIES[name].dir.rglob("*") if p.is_file())
    return digest(kernel_key() if name == "linux" else qemu_key(), digest_files(files, REPO))


def pictures_key():
    return digest(kernel_key(), qemu_key(), digest_files(sources("*.svg"), REPO))


def qemu_key():
    repo = base.repository("qemu")
    return digest(base.tree_id(repo), SERIES["qemu"].key(base.version(repo, "qemu")),
                  digest_files([*build.device_lists(), *tools()], REPO))


def deb_key():
    return digest_files([f for f in sources("tools/iommu", "packaging") if f.is_file()], REPO)


def mutants_qemu_key():
    return digest(qemu_key(), os.environ.get("MUTANTS", ""),
                  digest_files(sources("tools/qemu/mutants/*.diff"), REPO))


# group: what a person calls it by; key(): a digest of what it reads; packages: what
# runs in it, besides Python, git and the compiler
Check = namedtuple("Check", "group title key func packages", defaults=[()])

COMPILER = ("gcc", "libc6-dev", "make")
KERNEL_BUILD = (*COMPILER, "bc", "bison", "flex", "libelf-dev", "libssl-dev", "perl", "rsync")
PATCH_BUILD = (*KERNEL_BUILD, "gcc-aarch64-linux-gnu")
QEMU_BUILD = (*COMPILER, "ninja-build", "pkgconf", "libfdt-dev", "libglib2.0-dev",
              "libpixman-1-dev", "zlib1g-dev", "python3-venv", "seabios", "qemu-system-data",
              "ipxe-qemu")

SPHINX = ("perl", "python3-sphinx", "python3-sphinx-rtd-theme")

CHECKS = [
    Check("scripts", "shellcheck", testbed_key, check_shellcheck, ("shellcheck",)),
    Check("scripts", "python and its unit tests", everything_key, check_python,
          ("apt", "dpkg", "make")),
    Check("scripts", "no path or host of a machine", everything_key, check_words),
    Check("readme", "commands of the README", everything_key, check_readme_commands,
          (*KERNEL_BUILD, "busybox-static")),
    Check("series", "series apply and export", everything_key, check_series),
    Check("series", "mutants fit the series", everything_key, check_mutants_fit),
    Check("mails", "git am of the kernel mails", lambda: mails_key("linux"),
          lambda log: check_git_am("linux", log)),
    Check("mails", "git am of the QEMU TCG mails", lambda: mails_key("qemu-tcg"),
          lambda log: check_git_am("qemu-tcg", log)),
    Check("mails", "git am of the QEMU mails", lambda: mails_key("qemu"),
          lambda log: check_git_am("qemu", log)),
    Check("mails", "checkpatch --strict, kernel", lambda: mails_key("linux"),
          lambda log: check_checkpatch("linux", log),
          ("perl", "codespell", "python3-git", "python3-ply")),
    Check("mails", "checkpatch, QEMU TCG", lambda: mails_key("qemu-tcg"),
          lambda log: check_checkpatch("qemu-tcg", log), ("perl",)),
    Check("mails", "checkpatch, QEMU", lambda: mails_key("qemu"),
          lambda log: check_checkpatch("qemu", log), ("perl",)),
    Check("kernel", "W=1 and sparse, before and after", kernel_key, check_warnings,
          (*KERNEL_BUILD, "sparse")),
    Check("kernel", "kernel-doc", kernel_key, check_kernel_doc, ("perl", "python3-docutils")),
    Check("kernel", "coccicheck", kernel_key, check_coccinelle, ("coccinelle",)),
    Check("patches", "each kernel patch builds", kernel_key, check_patches, PATCH_BUILD),
    Check("patches", "i386, arm64, a module, without SVM or page faults", kernel_key,
          check_configurations, PATCH_BUILD),
    Check("user", "tools/iommu unit tests, man page", kernel_key, check_user,
          (*KERNEL_BUILD, "g++", "mandoc", "busybox-static")),
    Check("user", "tools/iommu with musl, and on 32 bit", kernel_key, check_user_ports,
          (*COMPILER, *packages.INSTEAD, *packages.INSTEAD.values(), "musl-tools", "pkgconf")),
    Check("deb", "Debian packages, lintian", deb_key, check_deb, deb.PACKAGES),
    Check("docs", "links in our pages", everything_key, docs.check_links),
    Check("docs", "names in pictures", pictures_key, check_pictures),
    Check("docs", "sphinx, pages of the kernel series", kernel_key,
          lambda log: check_pages("linux", log), SPHINX),
    Check("docs", "sphinx, pages of the QEMU series", qemu_key,
          lambda log: check_pages("qemu", log), SPHINX),
    Check("qemu", "QEMU unit tests and qtests", qemu_key, check_qemu, QEMU_BUILD),
    Check("vmstate", "migration to and from QEMU without the series", qemu_key,
          vmstate.check, QEMU_BUILD),
    Check("mutants-qemu", "mutants of the QEMU series", mutants_qemu_key, model_mutants.check,
          QEMU_BUILD),
    # kept while the project is the same; that the archive of packages changes is not seen
    Check("fresh", "make run on a bare Debian 12 and 13", fresh_key, check_fresh,
          ("debootstrap",)),
]


def full_key(check):
    """Of what a check reads and of all that runs in it, on this machine; None of
    one whose result is not kept."""
    if not check.key:
        return None
    return digest(check.key(), machine_key(check.packages))


def machine_key(names):
    """The distribution, and the versions of packages of it, as one digest."""
    return digest(build.os_release("PRETTY_NAME"), *packages.versions(
        ["python3", "git", "gcc", *names]))


def forced():
    """Whether what was found right before is to be checked again."""
    return os.environ.get("FORCE") == "1"

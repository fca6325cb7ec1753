# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors
"""Builds what a lane boots: kernels, their modules, QEMU, the guest's programs.

A product's key is all that goes into it: the base tree, the series, the
configuration, and the versions of the compiler, the linker and the libraries.
So a product of other sources or of another machine is never taken, and a fresh
clone finds what an older one has built.
"""

import contextlib
import os
import pathlib
import re
import shutil

from iopf import base, cache, debian_kernel, host, lock, on_top, packages, process, series
from iopf.cache import digest, publish
from iopf.errors import Failure
from iopf.host import REPO
from iopf.patches import SERIES, patched_paths
from iopf.process import logged, run
from iopf.testbed import TESTBED, Archive, lanefile, mutantfile

# A QEMU that takes plugins is slower and is not the one that the tests are about: it is a
# product of its own, with the header that a plugin is built with
PLUGIN_QEMU = "qemu-plugins"
QEMU_KINDS = {"qemu": [], PLUGIN_QEMU: ["--enable-plugins"]}


def compiler(arch):
    """The prefix of the tools that build for an architecture, "" for our own."""
    cross = {"arm64": "aarch64-linux-gnu-", "x86": "x86_64-linux-gnu-"}
    if arch not in cross:
        raise Failure(f"no architecture {arch}; there are {' '.join(sorted(cross))}")
    return "" if host.machine() == arch else cross[arch]


def cc(cross=""):
    return f"ccache {cross}gcc" if shutil.which("ccache") else f"{cross}gcc"


def build_env():
    return process.build_env({
        "CCACHE_BASEDIR": str(REPO), "CCACHE_NOHASHDIR": "1",
        "KBUILD_BUILD_TIMESTAMP": "2026-01-01", "KBUILD_BUILD_USER": "linux-iopf",
        "KBUILD_BUILD_HOST": "localhost"})


def toolchain(cross=""):
    """What makes objects, by its own word: a package may be anything."""
    lines = []
    for tool in ("gcc", "ld"):
        lines.append(run([f"{cross}{tool}", "--version"],
                         env=process.build_env()).splitlines()[0])
    return lines


@contextlib.contextmanager
def build_folder(work, keep=True):
    """A folder under out/build. What a killed build left in it is not trusted:
    a file cut short looks newer than its sources, and no make does it again."""
    mark = work.with_name(f".{work.name}.at-work")
    with lock.of_out(f"builds in {work}"):
        if mark.exists() or not keep:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        mark.touch()
        try:
            yield work
        except Failure as failure:
            if "No space left" not in str(failure):
                mark.unlink()       # make itself has failed, and removes what is half made
            raise
        mark.unlink()


def fragments(kernel):
    return [REPO / name for name in kernel.configs]


def patches(kernel):
    return [REPO / name for name in kernel.patches]


def mutants_kernels():
    """The kernels with faults to choose from, one for each architecture."""
    return [lanefile.load_kernel(mutantfile.kernel(arch))
            for arch in mutantfile.architectures()]


def source_tree(kernel):
    """The tree of the series; with diffs of its own a kernel has its own tree."""
    if not kernel.patches:
        return series.built_tree("linux")
    return on_top.tree("linux", kernel.name, patches(kernel))


def keep_module_build(kernel, source, work, dest, log):
    """What an external module of this kernel is built with, without the rest."""
    # of one compiler: with a cross compiler it would build the programs of the build anew,
    # for the machine that the kernel is for
    logged([source / "scripts/package/install-extmod-build", dest / "build"], log, cwd=work,
           env={**build_env(), "srctree": str(source), "SRCARCH": kernel.arch, "CC": cc(),
                "HOSTCC": cc()}, what="files for external modules")


def work_folder(kernel):
    """Where a kernel is built, as far from its tree as every other one."""
    top = on_top.place("linux", kernel.name).parent if kernel.patches else host.out()
    return top / "build" / f"linux-{kernel.name}"


def make_kernel(kernel, dest):
    work = work_folder(kernel)
    with build_folder(work):
        build_kernel(kernel, work, dest, host.log(f"kernel-{kernel.name}.log"))


def refuse_lost(wanted, work):
    """An option that Kconfig has dropped is a mistake of ours, found now."""
    config = (work / ".config").read_text()
    lost = [line for line in wanted if f"{line}\n" not in config]
    if lost:
        raise Failure(f"the kernel does not take {', '.join(lost)}; correct the "
                      f"configuration's fragments ({work}/.config is what came out)")


def asked(text):
    """The options that fragments ask for. Of what several have, the last one's word counts,
    and that may be that it is not set."""
    found = {}
    for name, value, unset in re.findall(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$",
                                         text, re.M):
        found.pop(name or unset, None)
        if name:
            found[name] = value
    return [f"{name}={value}" for name, value in found.items()]


def configure_with(kernel, source, text, work, log):
    """Configure a source tree in a folder with the text of fragments; returns the command
    to build it with."""
    cross = compiler(kernel.arch)
    merged = work / "iopf.fragment"
    merged.write_text(text)
    make = ["make", "-C", source, f"O={work}", f"ARCH={kernel.arch}",
            f"CROSS_COMPILE={cross}", f"CC={cc(cross)}", f"HOSTCC={cc()}"]
    logged([*make, "allnoconfig"], log, what="kernel configuration",
           env={**build_env(), "KCONFIG_ALLCONFIG": str(merged)})
    refuse_lost(asked(text), work)
    return make


def configure_kernel(kernel, work, log):
    """Configure a kernel in a folder; returns the command to build it with."""
    return configure_with(kernel, source_tree(kernel),
                          "".join(f.read_text() for f in fragments(kernel)), work, log)


def keep_kernel(kernel, work, dest):
    """Of a build, what is booted and what tells about it."""
    shutil.copy(work / kernel.image, dest / pathlib.Path(kernel.image).name)
    shutil.copy(work / ".config", dest / "config")
    shutil.copy(work / "System.map", dest / "System.map")


def has_modules(kernel):
    """Whether parts of the kernel itself are modules, for a lane's `preload`."""
    return any(re.search(r"^CONFIG_\w+=m$", f.read_text(), re.M) for f in fragments(kernel))


def build_kernel(kernel, work, dest, log):
    make, env = configure_kernel(kernel, work, log), build_env()
    logged([*make, f"-j{host.jobs()}", "all"], log, env=env, what=f"kernel {kernel.name}")
    keep_kernel(kernel, work, dest)
    if has_modules(kernel):
        logged([*make, "modules_install", f"INSTALL_MOD_PATH={dest}", "DEPMOD=true"], log,
               env=env, what="modules of the kernel")
    if kernel.modules:
        keep_module_build(kernel, source_tree(kernel), work, dest, log)


def series_key(kernel, repo):
    """What the series adds to a kernel."""
    unread = ["tools/", "Documentation/"]
    if not any("CONFIG_SAMPLES=y" in f.read_text() for f in fragments(kernel)):
        unread.append("samples/")
    return SERIES["linux"].key(base.version(repo, "linux"), unread)


def kernel_place(kernel):
    """Where a kernel is in the cache, once it is made."""
    repo = base.repository("linux")
    key = digest("kernel-3", base.tree_id(repo), series_key(kernel, repo), kernel.arch,
                 *toolchain(compiler(kernel.arch)), *fragments(kernel), *patches(kernel))
    return host.cache() / "kernel" / f"{kernel.name}-{key}"


def kernel_path(kernel):
    if kernel.debian:
        return debian_kernel.path(kernel.debian, kernel.arch)
    given = imported(f"kernel-{kernel.name}")
    if given:
        return given
    return publish(lambda tmp: make_kernel(kernel, tmp), kernel_place(kernel))


def module_sources(kernel):
    files = []
    for folder in kernel.modules:
        listed = [p for p in sorted((REPO / folder).iterdir())
                  if p.is_file() and re.search(r"(\.[ch]|^Makefile)$", p.name)]
        if not listed:
            raise Failure(f"kernel {kernel.name}: no module in {folder}")
        files += listed
    return files


def make_modules(kernel, built, dest):
    work = host.out() / "build" / f"modules-{kernel.name}"
    with build_folder(work, keep=False):
        build_modules(kernel, built, work, dest, host.log(f"modules-{kernel.name}.log"))


def build_modules(kernel, built, work, dest, log):
    """Build the external modules of a kernel into an archive for its initramfs."""
    cross = compiler(kernel.arch)
    for file in module_sources(kernel):
        copy = work / file.relative_to(REPO)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    env, tools = build_env(), [f"CROSS_COMPILE={cross}", f"CC={cc(cross)}"]
    if kernel.debian:
        # its headers bring the compiler that it was built with
        env, tools = debian_kernel.module_env(built, env), []
    archive = Archive()
    for folder in kernel.modules:
        logged(["make", "-C", built / "build", f"M={work / folder}", f"ARCH={kernel.arch}",
                *tools, "W=1", f"-j{host.jobs()}", "modules"],
               log, env=env, what=f"modules of {folder}")
        for module in sorted((work / folder).rglob("*.ko")):
            archive.file(f"lib/modules/{module.name}", module.read_bytes())
    with open(dest / "modules.cpio", "wb") as out:
        archive.write(out)


def modules_place(kernel, built):
    key = digest("modules-2", built.name, *toolchain(compiler(kernel.arch)),
                 cache.digest_files(module_sources(kernel), REPO))
    return host.cache() / "modules" / f"{kernel.name}-{key}"


def modules_path(kernel, built):
    """The archive with a kernel's modules, or None if it has none."""
    if not kernel.modules:
        return None, "none"
    path, how = publish(lambda tmp: make_modules(kernel, built, tmp),
                        modules_place(kernel, built))
    return path / "modules.cpio", how


# Of another release of QEMU, what has anything to do with page requests there
RELEASE_TARGETS = "x86_64-softmmu.mak"


def device_lists():
    return sorted((TESTBED / "lib").glob(
        RELEASE_TARGETS if base.wanted_version("qemu") else "*-softmmu.mak"))


def qemu_product(kind):
    """Another release of QEMU is a product of its own."""
    release = base.wanted_version("qemu")
    return f"{kind}-{release}" if release else kind


# Built for other releases as well: what does not compile with their prototypes
RELEASE_TESTS = ("tests/unit/test-pci-iommu-ops",)


# What 10.2 does not link without, though nothing of it is used: NVMe refers to the one,
# the ACPI tables of x86 to the others
LINKED = ("SPDM_SOCKET", "PXB", "CXL", "CXL_MEM_DEVICE")


def device_list(file, source):
    """The text of a list of devices. On another release without those that it does not
    know, and with what it wants to be linked."""
    text = file.read_text()
    if not base.wanted_version("qemu"):
        return text
    known = set()
    for kconfig in [*source.glob("hw/**/Kconfig"), source / "backends/Kconfig"]:
        known.update(re.findall(r"^config (\w+)", kconfig.read_text(), re.M))
    text = re.sub(r"^CONFIG_(\w+)=.*\n", lambda m: m[0] if m[1] in known else "", text, flags=re.M)
    return text + "".join(f"CONFIG_{name}=y\n" for name in LINKED if name in known)


def put_blobs(source):
    """What stands in the place of firmware that the source package does not ship, and that
    nothing here uses: empty files, and empty bzip2 streams."""
    for blob in re.findall(r"'(edk2-[\w-]+\.fd)'", (source / "pc-bios/meson.build").read_text()):
        packed = source / "pc-bios" / f"{blob}.bz2"
        if not packed.exists():
            packed.write_bytes(b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0")
    for tree in (source / "pc-bios/dtb").glob("*.dts"):
        tree.with_suffix(".dtb").touch()


def qemu_binaries():
    return [f"qemu-system-{file.stem.split('-')[0]}" for file in device_lists()]


def accelerators():
    """KVM besides TCG for who asks with KVM=1: such a QEMU is a product of its own,
    so that nobody else's depends on what KVM needs."""
    return ["--enable-kvm"] if os.environ.get("KVM") == "1" else ["--disable-kvm"]


def sanitized_folders():
    """Of QEMU's tree: where the series changes a program, and the memory, object, bus
    and migration code that works on its objects."""
    ours = {str(pathlib.PurePath(p).parent) for p in patched_paths("qemu") if p.endswith(".c")}
    return sorted(ours | {"hw/core", "migration", "qom", "system"})


def configure_qemu(work, log, options=(), source=None, sanitized=()):
    """Configure QEMU in an empty folder; returns the environment to build with.
    What lies in the sanitized folders is built with AddressSanitizer and
    UndefinedBehaviorSanitizer."""
    source = source or series.built_tree("qemu")
    env, compiler_line = build_env(), cc()
    if sanitized:
        env["SANITIZED"] = " ".join(sanitized)
        compiler_line = f"{REPO / 'scripts/cc-sanitized'} {compiler_line}"
    meson = base.meson_path()
    if meson:
        env["PYTHONPATH"] = str(meson)
    targets = []
    for file in device_lists():
        target = file.stem
        targets.append(target)
        listed = source / "configs/devices" / target / "iopf.mak"
        listed.write_text(device_list(file, source))
    put_blobs(source)
    logged([source / "configure", "--python=/usr/bin/python3", f"--cc={compiler_line}",
            f"--target-list={','.join(targets)}", "--without-default-features",
            "--without-default-devices",
            *[f"--with-devices-{t.split('-')[0]}=iopf" for t in targets],
            "--enable-tcg", *accelerators(), "--enable-fdt=system", "--disable-docs",
            "--disable-tools",
            "--disable-guest-agent", "--disable-install-blobs", *options],
           log, cwd=work, env=env, what="QEMU configure")
    return env


def ninja(work, log, env, goals):
    logged(["ninja", "-j", host.jobs(), *goals], log, cwd=work, env=env, what="QEMU build")


def link_firmware(work):
    """For qtests: the source package has none, the distribution's serves as well."""
    firmware = work / "qemu-bundle/usr/local/share/qemu"
    firmware.mkdir(parents=True, exist_ok=True)
    # network cards of QEMU's own tests have their boot program loaded
    for folder in [*host.firmware(), "/usr/lib/ipxe/qemu"]:
        for blob in [*pathlib.Path(folder).glob("*.bin"), *pathlib.Path(folder).glob("*.rom")]:
            target = firmware / blob.name
            target.unlink(missing_ok=True)
            target.symlink_to(blob)


def make_qemu(dest, kind="qemu"):
    log = host.log(f"{qemu_product(kind)}.log")
    with build_folder(host.out() / "build" / qemu_product(kind), keep=False) as work:
        tests = RELEASE_TESTS if base.wanted_version("qemu") else ()
        ninja(work, log, configure_qemu(work, log, QEMU_KINDS[kind]),
              [*qemu_binaries(), *tests])
        for test in tests:
            logged([work / test], log, what=test)
        for name in qemu_binaries():
            shutil.copy(work / name, dest / name)
        if kind == PLUGIN_QEMU:
            shutil.copy(series.built_tree("qemu") / "include/qemu/qemu-plugin.h", dest)


def qemu_libraries():
    """What QEMU is linked with and brings no source of."""
    return packages.own_versions(
        ["libc6-dev", "libfdt-dev", "libglib2.0-dev", "libpixman-1-dev", "zlib1g-dev",
         *packages.matching(r"libc6|libfdt1|libglib2\.0-0(t64)?|libpixman-1-0|zlib1g")])


def qemu_place(kind="qemu"):
    repo = base.repository("qemu")
    content = SERIES["qemu"].key(base.version(repo, "qemu"), ["docs/", "tests/"])
    key = digest("qemu-3", base.tree_id(repo), content, *toolchain(), *qemu_libraries(),
                 *accelerators(), *[p.name for p in device_lists()], *device_lists(),
                 *QEMU_KINDS[kind], *(LINKED if base.wanted_version("qemu") else ()))
    return host.cache() / qemu_product(kind) / key


def imported(product):
    """A product that was built elsewhere, if the user has given us some."""
    folder = os.environ.get("IOPF_PRODUCTS")
    if not folder:
        return None
    path = pathlib.Path(folder) / product
    if not cache.intact(path):
        raise Failure(f"IOPF_PRODUCTS={folder} has no {product}; it takes a link to that "
                      "of another machine's cache, see `scripts/build path`")
    return path, "taken from IOPF_PRODUCTS, not built here"


def qemu_path(kind="qemu"):
    given = imported(qemu_product(kind))
    if given:
        return given
    return publish(lambda tmp: make_qemu(tmp, kind), qemu_place(kind))


BUSYBOX_SUITES = ("bookworm", "trixie")


def os_release(key):
    """A field of /etc/os-release."""
    with contextlib.suppress(OSError):
        match = re.search(rf"^{key}=\"?([^\"\n]*)", pathlib.Path(
            "/etc/os-release").read_text(encoding="utf-8"), re.M)
        return match[1] if match else ""
    return ""


def busybox(arch):
    """A static busybox for the guest: this machine's own, or the package of
    another architecture, which is unpacked and not installed."""
    if host.machine() == arch:
        found = shutil.which("busybox") or "/bin/busybox"
        if not os.path.exists(found):
            raise Failure("there is no busybox; install the package busybox-static")
        return pathlib.Path(found)
    deb_arch = {"x86": "amd64", "arm64": "arm64"}[arch]
    suite = os_release("VERSION_CODENAME")
    if suite not in BUSYBOX_SUITES:
        suite = BUSYBOX_SUITES[-1]
    place = host.cache() / "busybox" / f"{deb_arch}-{suite}"
    if not cache.intact(place) and host.offline():
        raise Failure(f"OFFLINE=1, and no busybox for {deb_arch} in {host.cache()}; "
                      "run once with the network")

    def fetch(tmp):
        with cache.workspace() as work:
            base.PrivateApt(work, suite, archs=[deb_arch]).get(
                "download", "busybox-static")
            debs = list(pathlib.Path(work).glob("busybox-static_*.deb"))
            run(["dpkg-deb", "-x", *debs, f"{work}/x"])
            for name in ("bin/busybox", "usr/bin/busybox"):
                if (pathlib.Path(work) / "x" / name).is_file():
                    shutil.copy(pathlib.Path(work) / "x" / name, tmp / "busybox")

    return publish(fetch, place)[0] / "busybox"


def guest_sources():
    files = [p for p in sorted((TESTBED / "init").iterdir()) if p.is_file()]
    return [*files, TESTBED / "lib/initramfs", TESTBED / "lib/cpio.py"]


def make_guest(arch, dest):
    with build_folder(host.out() / "build" / f"guest-{arch}", keep=False) as work:
        build_guest(arch, work, dest, host.log(f"guest-{arch}.log"))


def install_headers(source, arch, work, log):
    """The uAPI headers of a kernel tree, in a folder of their own."""
    headers = work / "usr"
    logged(["make", "-C", source, f"O={work}/headers", f"ARCH={arch}", "headers_install",
            f"INSTALL_HDR_PATH={headers}"], log, env=build_env(), what="kernel headers")
    return headers / "include"


def build_guest(arch, work, dest, log):
    cross = compiler(arch)
    source = series.built_tree("linux")
    env = build_env()
    headers = install_headers(source, arch, work, log)
    common = [f"CC={cross}gcc", "LDFLAGS=-static", f"KHDR_INCLUDES=-isystem {headers}"]
    logged(["make", "-C", source / "tools/iommu", f"-j{host.jobs()}", f"O={work}/iommu",
            *common], log, env=env, what="tools/iommu")
    logged(["make", "-C", source / "tools/iommu", f"O={work}/iommu", *common, "EXAMPLES=c",
            "examples"], log, env=env, what="examples of libiopf")
    tests = work / "selftests"
    tests.mkdir()
    logged(["make", "-C", source / "tools/testing/selftests/iommu", f"-j{host.jobs()}",
            f"OUTPUT={tests}", *common], log, env=env, what="kselftests")
    logged([f"{cross}gcc", "-static", "-O2", "-Wall", "-Wextra", "-o", work / "init",
            *sorted((TESTBED / "init").glob("*.c"))], log, env=env, what="init")
    entries = [f"init={work}/init", f"bin/iopf={work}/iommu/iopf",
               f"bin/busybox={busybox(arch)}", "bin/sh->busybox", "bin/gzip->busybox"]
    for example in sorted((source / "tools/iommu/examples").glob("*.c")):
        entries.append(f"usr/libexec/iopf/example-{example.stem}="
                       f"{work}/iommu/examples/{example.stem}")
    for test in sorted(tests.iterdir()):
        if os.access(test, os.X_OK) and test.is_file():
            entries.append(f"usr/libexec/iopf/{test.name}={test}")
    logged([TESTBED / "lib/initramfs", dest / "initramfs", *entries], log, what="initramfs")


def guest_place(arch):
    repo = base.repository("linux")
    # of the sample driver the programs read only the header of its requests
    content = SERIES["linux"].key(base.version(repo, "linux"), [
        "drivers/", "mm/", "samples/iommu/main.c", "samples/iommu/engine."])
    # the programs are static: the C library and busybox are in the product
    key = digest("guest-4", base.tree_id(repo), content, arch, *toolchain(compiler(arch)),
                 *packages.own_versions(["libc6-dev", *packages.CROSS[arch]]),
                 busybox(arch), cache.digest_files(guest_sources(), REPO))
    return host.cache() / "guest" / f"{arch}-{key}"


def guest_path(arch):
    return publish(lambda tmp: make_guest(arch, tmp), guest_place(arch))

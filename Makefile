# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The linux-iopf authors

LANE ?= vtd

# A text as one word of the shell, and a list as one word each, whatever is in them
quoted = '$(subst ','\'',$(1))'
quoted-each = $(foreach each,$(1),$(call quoted,$(each)))

at-once = $(if $(AT_ONCE),--at-once=$(call quoted,$(AT_ONCE)))

.PHONY: help run bench check check-qemu selfcheck mutants mutants-qemu lanes lanes-list boots soak trace shell deps tree kernel qemu guest \
	mbox export series-check cache cache-prune clean deb deb-kernel

help:
	@echo 'linux-iopf: device page faults (IOPF) on Linux 6.12, and the machine that proves them'
	@echo
	@echo '  make run           build all that is needed, boot the lane, show the demonstration'
	@echo '                     (LANE=$(LANE); LANE=all for every lane that has one; LANE=amd'
	@echo '                     DEMO=viommu a guest whose commands AMD'"'"'s hardware works off)'
	@echo '  make trace         where the time of its page faults goes: out/trace-LANE.json, for programs'
	@echo '                     that show traces (LANE=$(LANE))'
	@echo '  make check         all tests: static checks, unit tests, lanes, selfcheck'
	@echo '                     (CHECKS="user series" for some of them; FORCE=1 repeats kept ones)'
	@echo '  make lanes         only the lanes (LANES="vtd mock" for some; ONLY=GLOB tests of that'
	@echo '                     name; LOAD=N on a busy machine; REPEAT=N times; AT_ONCE=N at a time)'
	@echo '  make lanes-list    the lanes and what they are about'
	@echo '  make boots         Debian'"'"'s kernels behind the IOMMU in all of its modes (half an hour)'
	@echo '  make soak          many page faults and overflows, while programs come, go and are killed'
	@echo '                     (LANE=$(LANE); MINUTES=N, FAULTS=N, OVERFLOWS=N, SEED=N)'
	@echo '  make selfcheck     lanes that must fail do fail, for the right reason'
	@echo '  make mutants       for each fault in a kernel full of them, the test that has to find it'
	@echo '                     does (ONLY="GLOB GLOB" those of these names)'
	@echo '  make bench         instructions of the guest for the steps of a fault, beside the newest'
	@echo '                     stock kernel with the same options (ONLY="GLOB GLOB" some rows)'
	@echo '  make shell         a shell in the lane (LANE=$(LANE); FILE=PROGRAM to have it there)'
	@echo
	@echo '  make tree          the series as git trees in out/linux, out/qemu-tcg and out/qemu'
	@echo '  make export        the commits of those trees back into this repository'
	@echo '  make mbox          each series as mails in out/mbox, with your git identity'
	@echo '  make series-check  the series apply, and export back unchanged'
	@echo '  make kernel|qemu|guest   build one product and print where it is'
	@echo '  make check-qemu    QEMU'"'"'s unit tests and qtests with those of the series, under sanitizers'
	@echo '  make mutants-qemu  break the QEMU series rule by rule: each has to fail its test'
	@echo '                     (MUTANTS=GLOB for some; tools/qemu/mutants)'
	@echo '  make deb           the Debian packages iopf, libiopf1, libiopf-dev in out/deb'
	@echo '  make deb-kernel    the distribution'"'"'s kernel with the series, as packages in out/deb'
	@echo '                     (takes hours; KCONFIG_BASE=FILE: another configuration)'
	@echo '  make deps          install the distribution'"'"'s packages, or print the one line'
	@echo
	@echo '  make cache         what the cache holds;  make cache-prune  remove what this clone does'
	@echo '                     not use and nobody used for DAYS=14 days'
	@echo '  make clean         remove out/ (the cache stays: ~/.cache/linux-iopf)'
	@echo
	@echo '  Q=1 quiet;  V=1 all output;  JSON=FILE JUNIT=FILE  results of check and lanes'
	@echo '  KSRC=DIR QSRC=DIR  other base trees;  KVER=VERSION another linux-source-6.12 package'
	@echo '  QVER=10.2.2        for qemu and tree: another release of QEMU (Documentation/qemu-10.2.md)'
	@echo '  OFFLINE=1          never use the network;  UPDATE=1  look for newer base packages'
	@echo '  IOPF_CACHE=DIR     where downloads and builds are kept;  OUT=DIR  instead of out/'
	@echo '  JOBS=N             parallel jobs;  KVM=1  use KVM instead of TCG'

run:
	@scripts/build demo $(call quoted-each,$(LANE)) $(if $(DEMO),--demo=$(call quoted,$(DEMO)))

trace:
	@scripts/build trace $(call quoted-each,$(LANE))

lanes:
	@scripts/build run $(call quoted-each,$(LANES)) $(if $(ONLY),--only=$(call quoted,$(ONLY))) \
		$(if $(LOAD),--load=$(call quoted,$(LOAD))) $(if $(REPEAT),--repeat=$(call quoted,$(REPEAT))) \
		$(at-once)

boots:
	@scripts/build run $(call quoted-each,$(or $(LANES),boot-5.10@all boot-6.1@all boot-6.12@all boot-newest@all boot-arm64@all)) $(at-once)

soak:
	@scripts/build soak $(call quoted-each,$(LANE)) $(if $(MINUTES),--minutes=$(call quoted,$(MINUTES))) \
		$(if $(FAULTS),--faults=$(call quoted,$(FAULTS))) \
		$(if $(OVERFLOWS),--overflows=$(call quoted,$(OVERFLOWS))) $(if $(SEED),--seed=$(call quoted,$(SEED)))

lanes-list:
	@scripts/build list

selfcheck:
	@scripts/build selfcheck $(at-once)

mutants:
	@scripts/build mutants $(if $(ONLY),--only=$(call quoted,$(ONLY))) $(at-once)

bench:
	@scripts/build bench $(if $(ONLY),--only=$(call quoted,$(ONLY)))

shell:
	@scripts/build shell $(call quoted-each,$(LANE)) $(if $(FILE),--file=$(call quoted,$(FILE)))

check:
	@scripts/check $(call quoted-each,$(CHECKS))

check-qemu:
	@scripts/check qemu

mutants-qemu:
	@MUTANTS=$(call quoted,$(MUTANTS)) scripts/check mutants-qemu

series-check:
	@scripts/series check linux
	@scripts/series check qemu-tcg
	@scripts/series check qemu

tree:
	@scripts/series apply linux
	@scripts/series apply qemu-tcg
	@scripts/series apply qemu

export:
	@scripts/series export linux
	@scripts/series export qemu-tcg
	@scripts/series export qemu

mbox:
	@scripts/series mbox linux
	@scripts/series mbox qemu-tcg
	@scripts/series mbox qemu

deps:
	@scripts/build deps checks

kernel:
	@scripts/build path kernel $(call quoted-each,$(or $(KERNEL),x86))

qemu:
	@scripts/build path qemu

guest:
	@scripts/build path guest $(call quoted-each,$(or $(ARCH),x86))

cache:
	@scripts/cache sizes

cache-prune:
	@scripts/cache prune

deb:
	@scripts/deb

deb-kernel:
	@scripts/build deb-kernel

clean:
	@scripts/cache clean

.DEFAULT:
	@echo "error: there is no target '$@'; 'make help' lists them" >&2; exit 2

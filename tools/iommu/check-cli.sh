#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of the iopf program that take no device: wrong calls, and probe on made
# up /sys trees. The argument is the program.
#
# Copyright (C) 2026 The linux-iopf authors

iopf=$1
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
nr=0
failed=0

# expect NAME STATUS PATTERN ARGUMENT... : run iopf, compare
expect() {
	name=$1 status=$2 pattern=$3
	shift 3
	"$iopf" "$@" > "$tmp/out" 2>&1 < /dev/null
	got=$?
	nr=$((nr + 1))
	if [ $got -eq "$status" ] && grep -q -e "$pattern" "$tmp/out"; then
		echo "ok $nr $name"
		return
	fi
	failed=1
	echo "not ok $nr $name"
	echo "# iopf $*: exit status $got, wanted $status; no '$pattern' in:"
	sed 's/^/#   /' "$tmp/out"
}

# one_line NAME STATUS PATTERN ARGUMENT... : the same, and not a second line
one_line() {
	expect "$@"
	if [ "$(wc -l < "$tmp/out")" -ne 1 ]; then
		failed=1
		echo "not ok $((nr = nr + 1)) $1: more than one line"
	fi
}

# put FILE OFFSET BYTE... : write bytes, hexadecimal
put() {
	file=$1 offset=$(($2))
	shift 2
	for byte; do
		# shellcheck disable=SC2059 # the format is made of digits
		printf "\\$(printf %03o "0x$byte")"
	done | dd of="$file" bs=1 seek=$offset conv=notrunc 2> /dev/null
}

# device BDF DRIVER IOMMU: a function with ATS and PRI; "-" for none
device() {
	dir=$tmp/root/sys/bus/pci/devices/$1
	mkdir -p "$dir"
	echo 0x1234 > "$dir/vendor"
	echo 0x11f0 > "$dir/device"
	echo 0x00ff00 > "$dir/class"
	dd if=/dev/zero of="$dir/config" bs=4096 count=1 2> /dev/null
	put "$dir/config" 0x100 0f 00 01 12 20 00 00 80	# ATS, next 0x120
	put "$dir/config" 0x120 13 00 01 14 01 00 00 80	# PRI, next 0x140
	put "$dir/config" 0x128 40 00 00 00 20 00 00 00
	put "$dir/config" 0x140 1b 00 01 00 00 08 01 00	# PASID
	if [ "$2" != - ]; then
		mkdir -p "$tmp/root/sys/bus/pci/drivers/$2"
		ln -s "../../drivers/$2" "$dir/driver"
	fi
	if [ "$2" = vfio-pci ]; then
		mkdir -p "$dir/vfio-dev/vfio0"
	fi
	[ "$3" = - ] && return
	ln -s "../../../../class/iommu/$3" "$dir/iommu"
	group=$tmp/root/sys/kernel/iommu_groups/9
	mkdir -p "$group/devices"
	ln -s ../../../../kernel/iommu_groups/9 "$dir/iommu_group"
	ln -s "../../../../bus/pci/devices/$1" "$group/devices/$1"
}

# machine ECAP COMMAND-LINE: an empty tree with an Intel IOMMU
machine() {
	rm -rf "$tmp/root"
	mkdir -p "$tmp/root/sys/class/iommu/dmar0/intel-iommu" \
		"$tmp/root/sys/bus/pci/devices" "$tmp/root/proc" \
		"$tmp/root/boot"
	echo "$1" > "$tmp/root/sys/class/iommu/dmar0/intel-iommu/ecap"
	echo "$2" > "$tmp/root/proc/cmdline"
	for option in IOMMUFD VFIO_DEVICE_CDEV VFIO_PCI IOMMU_IOPF INTEL_IOMMU; do
		echo "CONFIG_$option=y"
	done > "$tmp/root/boot/config-$(uname -r)"
}

probe() {
	name=$1 status=$2 pattern=$3
	expect "$name" "$status" "$pattern" probe --root "$tmp/root" 01:00.0
}

dev=0000:01:00.0
config=$tmp/root/sys/bus/pci/devices/$dev/config
# scalable mode, PDS, PRS, DT and what comes with them
good=4c9020f00f4e

echo 'TAP version 13'
expect 'no arguments' 2 '^Usage: iopf'
expect 'help' 0 '^Usage: iopf' --help
expect 'version' 0 '^iopf [0-9]' --version
one_line 'no such command' 2 "no command 'foo'" foo
for command in probe serve demo; do
	expect "$command help" 0 "^Usage: iopf $command" $command --help
	expect "$command version" 0 '^iopf [0-9]' $command -V
	one_line "$command, unknown option" 2 'unknown option --what' \
		$command --what
	one_line "$command, unknown short option" 2 "'-Z'" $command -Z
	one_line "$command, wrong address" 2 'is no PCI address' $command xy
done
one_line 'option without value' 2 '--size needs a value' demo --size
one_line 'option with value' 2 '--once takes no value' serve --once=1
one_line 'wrong size' 2 "'12Q' is no size" serve --size 12Q "$dev"
one_line 'negative size' 2 "'-4' is no size" serve --size=-4 "$dev"
one_line 'huge size' 2 'is no size' serve --size 99999999999T "$dev"
one_line 'too many groups' 2 'is no number' demo --groups 100000
one_line 'no groups' 2 'at least 1' demo --groups 0
one_line 'anon and file' 2 'exclude' serve --anon --file /x "$dev"
one_line 'private without file' 2 'is for --file' serve --private "$dev"
one_line 'serve without device' 2 'no device' serve
one_line 'try and no-try' 2 '--try does not go' probe --try --no-try

machine $good 'intel_iommu=on,sm_on'
expect 'empty machine' 1 'no device with PRI' probe --root "$tmp/root"
one_line 'no such device' 2 'there is no PCI device' \
	probe --root "$tmp/root" 7f:00.0

device $dev vfio-pci dmar0
expect 'list' 0 "$dev *1234:11f0 *vfio-pci *dmar0 *9 *on *on *on" \
	probe --root "$tmp/root"
probe 'all there' 0 'nothing is in the way'
probe 'PRI capacity' 0 'PRI on (64 requests), PASID on (8 bits)'
echo '# CONFIG_IOMMUFD is not set' > "$tmp/root/boot/config-$(uname -r)"
probe 'kernel options' 1 'without CONFIG_IOMMUFD CONFIG_VFIO_DEVICE_CDEV'
rm "$tmp/root/boot/config-$(uname -r)"
probe 'no kernel options' 0 'configuration is not visible'
echo 'CONFIG_X=y' > "$tmp/root/proc/cmdline"
probe 'scalable mode unknown' 0 'is scalable mode on'
echo 'intel_iommu=on,sm_off' > "$tmp/root/proc/cmdline"
probe 'scalable mode off' 1 '-> boot with intel_iommu=on,sm_on'

machine 480000f00f4e 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
probe 'IOMMU without page requests' 1 'no page requests, no page request drain'
rm "$tmp/root/sys/class/iommu/dmar0/intel-iommu/ecap"
probe 'IOMMU without registers' 0 'no register values'

machine $good 'intel_iommu=on,sm_on pci=noats'
device $dev vfio-pci dmar0
probe 'noats' 1 '-> boot without pci=noats'

machine $good 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
put "$config" 0x102 01 14	# ATS is followed by PASID, over PRI
probe 'no PRI' 1 'no PRI capability'
put "$config" 0x100 00 00 00 00
probe 'no ATS' 1 'no ATS capability'
machine $good 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
put "$config" 0x104 00
probe 'not page aligned' 1 'not page aligned'
put "$config" 0x104 20
put "$config" 0x126 00 00
probe 'responses without PASID' 1 'responses take no PASID'
put "$config" 0x126 00 81
put "$config" 0x102 01 10	# a list that runs in a circle
probe 'endless capability list' 1 'no PRI capability'
put "$config" 0x06 10
put "$config" 0x34 40
put "$config" 0x40 01 50	# power management, next 0x50
put "$config" 0x50 10 00	# PCI Express
truncate -s 256 "$config"
probe 'no way to extended config space' 1 '-> .*CONFIG_PCI_MMCONFIG'
truncate -s 64 "$config"
probe 'not root' 0 'not visible; run as root'

machine $good 'intel_iommu=on,sm_on'
device $dev nvme dmar0
probe 'other driver' 1 "-> .*echo $dev > /sys/bus/pci/devices/$dev/driver/unbind"
machine $good 'intel_iommu=on,sm_on'
device $dev - dmar0
probe 'no driver' 1 'NO *driver *none'
machine $good 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
device 0000:01:00.1 nvme dmar0
probe 'group is not viable' 1 '-> unbind 0000:01:00.1 from nvme'
machine $good 'intel_iommu=off'
device $dev vfio-pci -
probe 'no IOMMU' 1 '-> boot without iommu=off'
ln -s ../0000:00:00.0 "$tmp/root/sys/bus/pci/devices/$dev/physfn"
probe 'virtual function' 1 'a virtual function'

machine $good ''
device $dev vfio-pci ivhd0
mkdir -p "$tmp/root/sys/class/iommu/ivhd0/amd-iommu"
sed -i s/INTEL/AMD/ "$tmp/root/boot/config-$(uname -r)"
echo '246577efa2254afa:10' > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/features"
probe 'AMD' 0 'AMD-Vi: page requests'
echo '246577efa2254af8:10' > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/features"
probe 'AMD without PPR' 1 'AMD-Vi: no page requests'
machine $good ''
device $dev vfio-pci smmu3.0x0000000009050000
sed -i s/INTEL_IOMMU/ARM_SMMU_V3/ "$tmp/root/boot/config-$(uname -r)"
probe 'Arm' 0 'Arm SMMUv3'

echo "1..$nr"
exit $failed

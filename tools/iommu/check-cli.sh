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
	timeout 300 "$iopf" "$@" > "$tmp/out" 2>&1 < /dev/null
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

# json NAME STATUS EXPRESSION ARGUMENT... : JSON on stdout, and a Python expression
# over it that has to be true
json() {
	name=$1 status=$2 expression=$3
	shift 3
	"$iopf" "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
	got=$?
	nr=$((nr + 1))
	if [ $got -eq "$status" ] && python3 -m json.tool "$tmp/out" > "$tmp/json" &&
	   python3 -c "import json; j = json.load(open('$tmp/json'))
exit(not ($expression))"; then
		echo "ok $nr $name"
		return
	fi
	failed=1
	echo "not ok $nr $name"
	echo "# iopf $*: exit status $got, wanted $status; not so: $expression"
	sed 's/^/#   /' "$tmp/out" "$tmp/err"
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

# hide PATH: put something there that cannot be read, not even by root
hide() {
	rm -rf "${tmp:?}/root/$1"
	ln -s "$(basename "$1")" "$tmp/root/$1"
}

dev=0000:01:00.0
config=$tmp/root/sys/bus/pci/devices/$dev/config
# scalable mode, PDS, PRS, DT and what comes with them
good=4c9020f00f4e

echo 'TAP version 13'
expect 'no arguments' 64 '^Usage: iopf'
expect 'help' 0 '^Usage: iopf' --help
expect 'help, short' 0 '^Usage: iopf' -h
expect 'version' 0 '^iopf [0-9]' --version
expect 'version, short' 0 '^iopf [0-9]' -V
one_line 'no such command' 64 "no command 'foo'; see 'iopf --help'" foo
one_line 'unknown option before a command' 64 'unknown option --what' --what
one_line 'unknown letter before a command' 64 'unknown option -Z' -Z probe
for command in probe serve stat demo; do
	expect "$command help" 0 "^Usage: iopf $command" $command --help
	expect "$command help, short" 0 "^Usage: iopf $command" $command -h
	expect "$command version" 0 '^iopf [0-9]' $command -V
	expect "$command version, long" 0 '^iopf [0-9]' $command --version
	one_line "$command, unknown option" 64 "unknown option --what; see 'iopf $command --help'" \
		$command --what=1
	one_line "$command, unknown short option" 64 'unknown option -Z' $command -Z
	one_line "$command, help with a value" 64 '--help takes no value' \
		$command --help=1
	one_line "$command, wrong address" 64 'is no PCI address' $command xy
done
one_line 'unknown letter behind a known one' 64 'unknown option -Z' serve -qZ
one_line 'unknown letter before a known one' 64 'unknown option -Z' \
	serve --once -Zq
one_line 'control characters in a name' 64 '^iopf serve: a?b?: No such file' \
	serve --file "$(printf 'a\nb\033')" ffff:ff:1f.7
# full NAME ARGUMENT... : nothing can be written
full() {
	name=$1
	shift
	nr=$((nr + 1))
	"$iopf" "$@" > /dev/full 2> "$tmp/out"
	if [ $? -eq 2 ] && grep -q 'cannot be written' "$tmp/out"; then
		echo "ok $nr $name"
	else
		failed=1
		echo "not ok $nr $name"
	fi
}
full 'nowhere to write' --version
full 'nowhere to write, help' probe --help
one_line 'option without value' 64 '--size needs a value' demo --size
one_line 'option with value' 64 '--once takes no value' serve --once=1
one_line 'option with a letter and a value' 64 '--quiet takes no value' \
	serve --quiet=1
one_line 'wrong size' 64 "'12Q' is no size" serve --size 12Q "$dev"
one_line 'negative size' 64 "'-4' is no size" serve --size=-4 "$dev"
one_line 'huge size' 64 'is no size' serve --size 99999999999T "$dev"
one_line 'too many groups' 64 'is no number' demo --groups 100000
one_line 'no groups' 64 'at least 1' demo --groups 0
one_line 'demo, PASID 0' 64 '--pasid: give something from 1' demo --pasid 0
one_line 'demo, PASID of 21 bits' 64 'is no number from 0 to 1048575' \
	demo --pasid 1048576
one_line 'demo, two address spaces' 64 'give one of them' demo --sva --process 1
one_line 'demo, process 0' 64 '--process: give the number' demo --process 0
one_line 'demo, the kernel refuses nothing' 64 '--invalid: the kernel serves' \
	demo --sva --invalid
one_line 'demo, address of own memory' 64 'with --sva the memory is where it is' \
	demo --sva --iova 4096
one_line 'demo, address is not a page' 64 '--iova: .*multiple of the page size' \
	demo --iova 4097
one_line 'demo, address and size overflow' 64 'end of the address space' \
	demo --iova 0xffffffffffff0000 --size 64K
expect 'demo, summary without a device' 2 \
	'^#demo result=error mode=invalid device=ffff:ff:1f.7 transfers=0 requests=0 ' \
	demo --summary --invalid ffff:ff:1f.7
one_line 'try and no-try' 64 '--try does not go' probe --try --no-try

# Nothing of the following needs a device: the call is refused before one is
# looked for.
absent=ffff:ff:1f.7
page=$(getconf PAGESIZE)
one_line 'anon and file' 64 'exclude' serve --anon --file /x "$absent"
one_line 'private without file' 64 'is for --file' serve --private "$absent"
one_line 'invalid and file' 64 '--invalid maps nothing' \
	serve --invalid --file /x "$absent"
one_line 'quiet and verbose' 64 'exclude' serve --quiet --verbose "$absent"
one_line 'serve without device' 64 'no device' serve
one_line 'no bytes' 64 '--size: 0 bytes' serve --size 0 "$absent"
one_line 'no bytes of a file' 64 '--size: 0 bytes' \
	serve --size 0 --file /dev/zero "$absent"
one_line 'size is not whole pages' 64 "multiple of the page size.*$((2 * page))" \
	serve --size $((page + 1)) "$absent"
one_line 'size is not whole pages, and none above' 64 \
	'multiple of the page size; give [1-9]' \
	serve --size 0xffffffffffffffff --iova 0 "$absent"
one_line 'address is not a page' 64 '--iova: .*multiple of the page size' \
	serve --iova 0x100000001 "$absent"
one_line 'address and size overflow' 64 'end of the address space' \
	serve --iova 0xffffffffffff0000 --size 1M "$absent"
one_line 'the default size overflows' 64 'end of the address space' \
	serve --iova 0xffffffffffff0000 "$absent"
one_line 'no such file' 64 "$tmp/no-file: No such file" \
	serve --file "$tmp/no-file" "$absent"
one_line 'a folder is no file' 64 "$tmp: Is a directory" \
	serve --file "$tmp" "$absent"
mkfifo "$tmp/fifo"
one_line 'a pipe is no file' 64 "$tmp/fifo: neither a file nor a device" \
	serve --file "$tmp/fifo" "$absent"
: > "$tmp/empty"
one_line 'empty file' 64 "$tmp/empty: the file is empty" \
	serve --file "$tmp/empty" "$absent"
one_line 'device file without size' 64 '/dev/zero: .*--size' \
	serve --file /dev/zero "$absent"
truncate -s "$page" "$tmp/file"
one_line 'file and address overflow' 64 'end of the address space' \
	serve --file "$tmp/file" --iova 0xffffffffffff0000 --size 128K "$absent"
one_line 'no such command to run' 127 'no-such-command: No such file' \
	serve "$absent" -- ./no-such-command
one_line 'no such command in the path' 127 'no-such-command: .*PATH' \
	serve "$absent" -- no-such-command
one_line 'command is no program' 126 "$tmp/file: Permission denied" \
	serve "$absent" -- "$tmp/file"
one_line 'command is a folder' 126 "$tmp: Is a directory" \
	serve "$absent" -- "$tmp"
one_line 'empty command' 127 'empty' serve "$absent" -- ''
one_line 'a command and no device' 64 'no device' serve -- true
one_line 'two devices' 64 "'true': .*'--' before a command" serve "$absent" true
if [ -e /dev/iommu ]; then
	cause='no PCI device'
else
	cause=/dev/iommu
fi
one_line 'nothing is wrong but the device' 2 "$cause" serve "$absent"
one_line 'the same for a command' 125 "$cause" serve "$absent" -- true

machine $good 'intel_iommu=on,sm_on'
expect 'empty machine' 1 'no device with PRI' probe --root "$tmp/root"
json 'empty machine, JSON' 1 'j == {"format": 1, "candidates": [], "hidden": 0}' \
	probe --json --root "$tmp/root"
expect 'no such device' 1 'not usable: device: there is no PCI device' \
	probe --root "$tmp/root" 7f:00.0
one_line 'a list without sysfs' 2 'mount sysfs' probe --root "$tmp/nothing"
expect 'a device without sysfs' 2 'not known .*mount sysfs' \
	probe --root "$tmp/nothing" 7f:00.0

device $dev vfio-pci dmar0
expect 'list' 0 "$dev *1234:11f0 *vfio-pci *dmar0 *9 *on *on *on" \
	probe --root "$tmp/root"
json 'list, JSON' 0 'j["hidden"] == 0 and j["candidates"] == [{
	"device": "0000:01:00.0", "id": "1234:11f0", "class": "00ff00",
	"driver": "vfio-pci", "iommu": "dmar0", "group": 9,
	"ats": "on", "pri": "on", "pasid": "on"}]' probe --json --root "$tmp/root"
probe 'all there, not tried' 2 'nothing is seen in the way .* not made'
probe 'PRI capacity' 2 'PRI on (64 requests), PASID on (8 bits)'
probe 'no snoop control' 2 'note *iommu *no snoop control'
json 'all there, JSON' 2 'j["format"] == 1 and len(j["devices"]) == 1 and [
	(d["device"], d["verdict"], d["tried"], d["reason"]) for d in j["devices"]] == [
	("0000:01:00.0", "not known", False, "not made: only a copy of a machine is looked at")
	] and [(k["name"], k["state"]) for k in j["devices"][0]["links"]] == [
	("kernel", "ok"), ("iommu", "ok"), ("iommu", "note"), ("device", "ok"),
	("driver", "ok"), ("group", "ok"), ("trial", "unknown")]' \
	probe --json --root "$tmp/root" $dev
printf 'ver"\\\001\t\303\251\377\355\240\200' > "$tmp/root/proc/release"
mkdir -p "$tmp/root/proc/sys/kernel"
mv "$tmp/root/proc/release" "$tmp/root/proc/sys/kernel/osrelease"
json 'escapes in JSON' 2 'j["devices"][0]["links"][0]["text"].startswith(
	"ver\x22\x5c\x01\t\xe9\ufffd\ufffd\ufffd\ufffd,")' \
	probe --json --root "$tmp/root" $dev
rm "$tmp/root/proc/sys/kernel/osrelease"

# A name changes no terminal.
link=$tmp/root/sys/bus/pci/devices/$dev/driver
mv "$link" "$tmp/driver"
ln -s "$(printf 'x/a\033[31mb\302\2331m')" "$link"
expect 'a list, wild name' 0 ' a?\[31mb??1m ' probe --root "$tmp/root"
probe 'a device, wild name' 2 ' a?\[31mb??1m, vfio0$'
rm "$link"
mv "$tmp/driver" "$link"

# Of several devices the worst decides, and one that is missing hides no other.
device 0000:02:00.0 nvme dmar0
json 'several devices' 1 '[(d["device"], d["verdict"]) for d in j["devices"]] == [
	("0000:02:00.0", "not usable"), ("0000:7f:00.0", "not usable")]' \
	probe --json --root "$tmp/root" 02:00.0 7f:00.0
one_line 'several devices, one address is wrong' 64 "'xy' is no PCI address" \
	probe --root "$tmp/root" 01:00.0 xy
expect 'several devices, all are shown' 1 'NO *driver *nvme' \
	probe --root "$tmp/root" 01:00.0 02:00.0

machine $good 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
echo '# CONFIG_IOMMUFD is not set' > "$tmp/root/boot/config-$(uname -r)"
probe 'kernel options' 1 'without CONFIG_IOMMUFD CONFIG_VFIO_DEVICE_CDEV'
rm "$tmp/root/boot/config-$(uname -r)"
probe 'no kernel options' 2 'not known .*configuration is not visible'
mkdir "$tmp/root/boot/config-$(uname -r)"
probe 'unreadable kernel options' 2 'configuration is not visible'
rmdir "$tmp/root/boot/config-$(uname -r)"
echo CONFIG_IOMMUFD=y | gzip > "$tmp/root/proc/config.gz"
probe 'kernel options, compressed' 1 'without CONFIG_VFIO_DEVICE_CDEV'
truncate -s 15 "$tmp/root/proc/config.gz"
probe 'kernel options, compressed and cut' 2 'configuration is not visible'
echo 'CONFIG_X=y' > "$tmp/root/proc/cmdline"
probe 'scalable mode unknown' 2 'not visible whether scalable mode is on'
hide proc/cmdline
machine_config="CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=n"
echo "$machine_config" > "$tmp/root/boot/config-$(uname -r)"
probe 'command line unreadable' 1 '? *iommu .*scalable mode is on'
probe 'command line unreadable, the device' 1 '? *device .*proc/cmdline'
rm "$tmp/root/proc/cmdline"
echo 'intel_iommu=on,sm_off' > "$tmp/root/proc/cmdline"
probe 'scalable mode off' 1 '-> boot with intel_iommu=on,sm_on'

machine 480000f00f4e 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
probe 'IOMMU without page requests' 1 'no page requests, no page request drain'
echo 0c9020f00f4e > "$tmp/root/sys/class/iommu/dmar0/intel-iommu/ecap"
probe 'IOMMU without a second stage' 1 'NO *iommu .*no second-stage translation'
echo 4c9020f00fce > "$tmp/root/sys/class/iommu/dmar0/intel-iommu/ecap"
probe 'IOMMU with snoop control' 2 'ecap 0x4c9020f00fce'
for link in iommu driver iommu_group; do
	machine $good 'intel_iommu=on,sm_on'
	device $dev vfio-pci dmar0
	rm "$tmp/root/sys/bus/pci/devices/$dev/$link"
	mkdir "$tmp/root/sys/bus/pci/devices/$dev/$link"
	probe "unreadable: $link" 2 '? .*not readable'
	json "unreadable: $link, JSON" 2 'j["devices"][0]["verdict"] == "not known"' \
		probe --json --root "$tmp/root" $dev
done
for path in sys/class/iommu/dmar0/intel-iommu/ecap \
	    sys/kernel/iommu_groups/9/devices \
	    "sys/bus/pci/devices/$dev/config"; do
	machine $good 'intel_iommu=on,sm_on'
	device $dev vfio-pci dmar0
	hide "$path"
	probe "unreadable: $path" 2 '? .*not readable'
	rm "$tmp/root/$path"
	probe "missing: $path" 2 '? .*not there'
done
echo nonsense > "$tmp/root/sys/class/iommu/dmar0/intel-iommu/ecap"
probe 'IOMMU with a strange register' 2 'no number'
# With a pipe in a file's place nothing waits for a writer.
for path in proc/cmdline "boot/config-$(uname -r)" "sys/bus/pci/devices/$dev/config"; do
	machine $good 'intel_iommu=on,sm_on'
	device $dev vfio-pci dmar0
	rm "$tmp/root/$path"
	mkfifo "$tmp/root/$path"
	probe "pipe: $path" 2 'not known'
done
hide sys/bus/pci/devices/$dev
probe 'unreadable device' 2 'not known .*not readable'
one_line 'a list with an unreadable device' 2 'not readable' \
	probe --root "$tmp/root"
hide sys/bus/pci/devices
one_line 'unreadable list' 2 'not readable' probe --root "$tmp/root"

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
put "$config" 0x100 ff ff ff ff
probe 'extended config space does not answer' 2 'not known .*reads as ones'
put "$config" 0x06 10
put "$config" 0x34 40
put "$config" 0x40 01 50	# power management, next 0x50
put "$config" 0x50 10 00	# PCI Express
truncate -s 256 "$config"
probe 'no way to extended config space' 2 '-> .*CONFIG_PCI_MMCONFIG'
one_line 'a list with no way to it' 2 'of 1 device are not visible' \
	probe --root "$tmp/root"
put "$config" 0x50 01 00
probe 'conventional PCI' 1 'no ATS capability'
truncate -s 64 "$config"
probe 'not root' 2 '-> run as root'
probe 'not root, the verdict' 2 'not known .*capabilities are not visible'
expect 'a list, not root' 2 'run as root' probe --root "$tmp/root"
json 'a list, not root, JSON' 2 'j["hidden"] == 1 and not j["candidates"]' \
	probe --json --root "$tmp/root"

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
probe 'another function' 1 \
	'01:00.1 too (another function of the same device), which belongs to nvme'
json 'another function, JSON' 1 '[k["function"] for k in j["devices"][0]["links"]
	if k["name"] == "group"] == ["0000:01:00.1"]' \
	probe --json --root "$tmp/root" $dev
device 0000:02:00.0 e1000e dmar0
device 0000:00:1c.0 pcieport dmar0
probe 'another device' 1 \
	'02:00.0 too (not kept apart by the bridges above), which belongs to e1000e'
json 'all that are in the way' 1 '[k["function"] for k in j["devices"][0]["links"]
	if k["state"] == "no"] == ["0000:01:00.1", "0000:02:00.0"]' \
	probe --json --root "$tmp/root" $dev
machine $good 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
for function in 1 2 3 4 5 6 7; do
	device 0000:01:00.$function nvme dmar0
	device 0000:02:00.$function nvme dmar0
done
probe 'a large group' 1 'NO *group *9 has 6 more devices'
machine $good 'intel_iommu=on,sm_on'
device $dev vfio-pci dmar0
device 0000:01:00.1 - dmar0
mkdir "$tmp/root/sys/bus/pci/devices/0000:01:00.1/driver"
probe 'driver of another function unreadable' 2 '? *group .*0000:01:00.1 too; its driver'
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
echo 190b640f > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/cap"
probe 'AMD' 2 'ok *iommu .*AMD-Vi: ATS, page requests, 16 bits of PASID'
echo 180b640f > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/cap"
probe 'AMD without ATS' 1 'AMD-Vi: no ATS (EFR'
echo 190b640f > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/cap"
echo '246577efa2254af8:10' > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/features"
probe 'AMD without PPR' 1 'AMD-Vi: no page requests (EFR'
echo '246575efa2254afa:10' > "$tmp/root/sys/class/iommu/ivhd0/amd-iommu/features"
probe 'AMD that does not answer' 1 'no answer when their log is full'
hide sys/class/iommu/ivhd0/amd-iommu/features
probe 'AMD without registers' 2 'its register values in sysfs'
# arm [FILE-OF-THE-DEVICE-TREE]: a machine with an SMMUv3, and the device below a host
# bridge of the device tree
arm() {
	machine $good 'console=ttyAMA0'
	device $dev vfio-pci smmu3.0x0000000009050000
	for option in ARM_SMMU_V3 PCI_ATS PCI_PRI; do
		echo "CONFIG_$option=y"
	done >> "$tmp/root/boot/config-$(uname -r)"
	bridge=$tmp/root/sys/devices/platform/4010000000.pcie
	mkdir -p "$bridge/pci0000:00/0000:00:01.0" "$bridge/of_node" \
		"$tmp/root/sys/firmware/devicetree/base"
	cp "$dir/config" "$bridge/pci0000:00/0000:00:01.0/config"
	config 10 00 42 01 > /dev/null
	mv "$dir" "$bridge/pci0000:00/0000:00:01.0/$dev"
	ln -s "../../../devices/platform/4010000000.pcie/pci0000:00/0000:00:01.0/$dev" "$dir"
	for name in driver:bus/pci/drivers/vfio-pci iommu_group:kernel/iommu_groups/9 \
		iommu:class/iommu/smmu3.0x0000000009050000; do
		ln -sfn "$tmp/root/sys/${name#*:}" "$dir/${name%%:*}"
	done
	if [ $# -gt 0 ]; then
		: > "$bridge/of_node/$1"
	fi
}

# config BYTE...: the first capability of the port above the device
config() {
	put "$bridge/pci0000:00/0000:00:01.0/config" 0x06 10 00
	put "$bridge/pci0000:00/0000:00:01.0/config" 0x34 40
	put "$bridge/pci0000:00/0000:00:01.0/config" 0x40 "$@"
}

# iort ATS SEGMENT: the same with ACPI, a table of one root complex for buses 0 to 0x7f
iort() {
	arm
	rm -r "$tmp/root/sys/firmware/devicetree"
	mkdir -p "$tmp/root/sys/firmware/acpi/tables"
	table=$tmp/root/sys/firmware/acpi/tables/IORT
	dd if=/dev/zero of="$table" bs=128 count=1 2> /dev/null
	put "$table" 0 49 4f 52 54
	put "$table" 36 02 00 00 00 30
	put "$table" 48 00 18				# some other node
	put "$table" 72 02 38 00 00 00 00 00 00 01 00 00 00 24
	put "$table" 96 "$1"
	put "$table" 100 "$2"
	put "$table" 108 00 00 00 00 ff 7f
}

arm ats-supported
probe 'Arm, a copy' 2 'not known .*: iommu: smmu3.*ID registers are not visible: iommufd tells'
probe 'Arm, ATS by the device tree' 2 'ok *firmware *the device tree.s node .* allows ATS'
arm other
probe 'Arm, no ATS by the device tree' 1 'not usable: firmware: .* does not allow ATS'
probe 'Arm, no ATS, the cure' 1 '-> .*ats-supported'
arm ats-supported
rm -r "$bridge/of_node"
probe 'Arm, no host bridge in the device tree' 2 '? *firmware *the device tree, .*not there'
for lost in ARM_SMMU_V3 PCI_ATS PCI_PRI; do
	arm ats-supported
	sed -i "/^CONFIG_$lost=/d" "$tmp/root/boot/config-$(uname -r)"
	probe "Arm, without $lost" 1 "without CONFIG_$lost"
done
arm ats-supported
put "$dir/config" 0x126 00 00
probe 'Arm, responses without PASID' 2 'note *device *its page responses take no PASID'
put "$dir/config" 0x126 00 80
expect 'Arm, responses with PASID' 2 'ok *device *ATS' probe --root "$tmp/root" 01:00.0
if grep -q 'take no PASID' "$tmp/out"; then
	failed=1
	echo "not ok $((nr = nr + 1)) Arm, no note without a reason"
fi
for kind in 72 00; do
	arm ats-supported
	config 10 00 $kind 01
	[ $kind = 00 ] && config 05 00 $kind 01
	probe "Arm, more than one stream ($kind)" 1 'NO *device *.*more than one stream'
done
arm other
put "$dir/config" 0x100 00 00 00 00
echo 0x19e5 > "$dir/vendor"
echo 0xa250 > "$dir/device"
probe 'Arm, a device that stalls' 2 'ok *device *it stalls'
arm other
put "$dir/config" 0x100 00 00 00 00
mkdir "$dir/of_node"
: > "$dir/of_node/dma-can-stall"
probe 'Arm, stalls by the device tree' 2 'ok *device *it stalls'
rm "$dir/of_node/dma-can-stall"
probe 'Arm, neither stalls nor ATS' 1 'no ATS capability'
iort 01 00
probe 'Arm, ATS by ACPI' 2 'ok *firmware *the ACPI table IORT allows ATS'
iort 06 00
probe 'Arm, no ATS by ACPI' 1 'NO *firmware *the ACPI table IORT does not allow ATS'
iort 01 01
probe 'Arm, another segment by ACPI' 2 '? *firmware *the ACPI table IORT, .*not there'
iort 01 00
truncate -s 120 "$table"
probe 'Arm, a table cut short' 2 '? *firmware *the ACPI table IORT, .*Invalid argument'
hide sys/firmware/acpi/tables/IORT
probe 'Arm, a table that cannot be read' 2 '? *firmware *the ACPI table IORT'
machine $good ''
device $dev vfio-pci viommu0
probe 'an unknown IOMMU' 2 'not known .*of a kind that this program does not know'

# What the kernel counts, in a made up file of debugfs
mkdir -p "$tmp/stat/sys/kernel/debug"
counters=$tmp/stat/sys/kernel/debug/iopf
one_line 'stat, the kernel does not count' 2 'no /.*mount debugfs' stat --root "$tmp/stat"
cat > "$counters" << END
queue dmar0
overflows 2
requests 7
newer 9
latency 15 4
queue dmar1
overflows 0
requests 5
latency 13 3
latency 15 1
device 0000:01:00.0
open 1
requests 5
newer 7
latency 13 3
latency 15 1
latency 99 1
device 0000:02:00.0
open 0
requests 0
END
expect 'stat, table' 0 '^ *dmar0 *dmar1 *0000:01:00.0 *0000:02:00.0$' stat --root "$tmp/stat"
expect 'stat, row' 0 '^requests *7 *5 *5 *0$' stat --root "$tmp/stat"
expect 'stat, row that not all have' 0 '^newer *9 *- *7 *-$' stat --root "$tmp/stat"
expect 'stat, histogram' 0 '^ *8192 ns[.][.] *3 #\{40\}$' stat --root "$tmp/stat"
expect 'stat, empty bucket' 0 '^ *16 us[.][.] *0$' stat --root "$tmp/stat"
expect 'stat, bar in proportion' 0 '^ *33 us[.][.] *1 #\{14\}$' stat --root "$tmp/stat"
expect 'stat, one device' 0 '^ *dmar1 *0000:01:00.0$' stat --root "$tmp/stat" 01:00.0
one_line 'stat, device without page faults' 1 '0000:03:00.0 are off' \
	stat --root "$tmp/stat" 03:00.0
json 'stat, JSON' 0 'j["format"] == 1 and
	[(q["queue"], q["overflows"], q["requests"], q["newer"] if "newer" in q else None)
		for q in j["queues"]] == [("dmar0", 2, 7, 9), ("dmar1", 0, 5, None)] and
	[(d["device"], d["queue"], d["open"]) for d in j["devices"]] == [
		("0000:01:00.0", "dmar1", 1), ("0000:02:00.0", "dmar1", 0)] and
	j["devices"][0]["latency"] == [{"from_ns": 8192, "groups": 3},
		{"from_ns": 32768, "groups": 1}] and not j["devices"][1]["latency"]' \
	stat --json --root "$tmp/stat"
json 'stat, JSON of one device' 0 '[d["device"] for d in j["devices"]] == ["0000:02:00.0"]
	and [q["queue"] for q in j["queues"]] == ["dmar1"]' \
	stat --json --root "$tmp/stat" 02:00.0
printf 'queue a\033[31mb\nre\033quests 1\n' > "$counters"
expect 'stat, wild names' 0 '^ *a?\[31mb$' stat --root "$tmp/stat"
: > "$counters"
one_line 'stat, no queue' 0 'there is no queue' stat --root "$tmp/stat"
head -c 5000000 /dev/zero | tr '\0' x > "$counters"
one_line 'stat, far too long' 2 'more than 4 MiB' stat --root "$tmp/stat"
one_line 'stat, no time' 64 'is no time' stat --watch=0
one_line 'stat, two devices' 64 'one device' stat 01:00.0 02:00.0

# A saved trace: a group of two requests, one that comes meanwhile, one of another
# device with a PASID, one that nobody handles, one that is forgotten, one without an
# answer; and lines of other kinds
trace=$(dirname "$0")/check-trace.txt
# e: events of a phase as (name, line, from, to), with lines by their names
events='(lambda n: lambda ph: [(x["name"], n[x["tid"]], x["ts"], x.get("dur")) for x in
	j["traceEvents"] if x["ph"] == ph])({0: "all", **{x["tid"]: x["args"]["name"] for x in
	j["traceEvents"] if x["name"] == "thread_name"}})'
json 'trace, groups' 0 "[x for x in $events('X') if x[0][:5] == 'group'] == [
	('group 3', '0000:01:00.0', 0, 200), ('group 3', '0000:02:00.0 PASID 5', 160, 50),
	('group 4', '0000:01:00.0 (2)', 50, 170), ('group 5', '0000:01:00.0', 300, 10),
	('group 5', '0000:01:00.0', 400, 0)]" trace "$trace"
json 'trace, parts of a group' 0 "[x for x in $events('X') if x[1] == '0000:01:00.0'][1:4] == [
	('all requests come', '0000:01:00.0', 0, 20), ('to be read', '0000:01:00.0', 20, 80),
	('program', '0000:01:00.0', 100, 100)]" trace "$trace"
json 'trace, moments' 0 "$events('i') == [('map', '0000:01:00.0', 150, None),
	('discarded', '0000:01:00.0', 310, None), ('overflow', 'all', 320, None)]" trace "$trace"
json 'trace, what a group was' 0 '[x["args"] for x in j["traceEvents"] if x["name"][:5] == "group"
	][:2] == [{"requests": 2, "first": "0x100000000", "end": "0x100002000", "perm": "rw",
	"answer": "success"}, {"requests": 1, "first": "0x5000", "end": "0x6000", "perm": "w",
	"answer": "invalid, nobody was asked"}]' trace "$trace"
json 'trace, without an answer' 0 '[x["args"]["answer"] for x in j["traceEvents"]
	if x["name"] == "group 5"] == ["none, discarded", None]' trace "$trace"
expect 'trace, lost events' 0 'first 1 events are lost' trace --output "$tmp/o1" "$trace"
nr=$((nr + 1))
if "$iopf" trace - < "$trace" 2> /dev/null | cmp -s - "$tmp/o1" && [ -s "$tmp/o1" ]; then
	echo "ok $nr trace, standard input and output file"
else
	failed=1
	echo "not ok $nr trace, standard input and output file"
fi
expect 'trace help' 0 '^Usage: iopf trace' trace --help
one_line 'trace, unknown option' 64 'unknown option --what' trace --what
sed 's/0000:01/\x1b]0;/' "$trace" > "$tmp/wild"
json 'trace, wild names' 0 'not any("\x1b" in str(x) for x in j["traceEvents"])' trace "$tmp/wild"
seq 20000 | sed 's/.*/x [0] 1.0: iopf_report: d addr=0x1000 pasid=0x0 group=& perm=r flags=/' \
	> "$tmp/many"
json 'trace, groups without end' 0 'len([x for x in j["traceEvents"] if x["name"][:5] == "group"
	]) == 20000 and max(x["tid"] for x in j["traceEvents"]) == 16384' trace "$tmp/many"
grep -v iopf "$trace" > "$tmp/none"
expect 'trace, of something else' 1 'there are no page requests' trace "$tmp/none"
one_line 'trace, no such file' 2 'nonexistent: No such file' trace /nonexistent
one_line 'trace, output in vain' 2 'nonexistent/x: No such file' trace -o /nonexistent/x "$trace"
one_line 'trace, two files' 64 "behind '--'" trace a b
one_line 'trace, no command' 64 'no command' trace --

echo "1..$nr"
exit $failed

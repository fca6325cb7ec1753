#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Tests of libiopf as a library: its header, what it exports and hides, how its
# files depend on each other, and what others build from the installed one. And
# whether the options of iopf, its --help and iopf(1) agree.
#
#   check-lib.sh FOLDER    with the build in it; CC, CXX, PKG_CONFIG and
#                          KHDR_INCLUDES as for make; no C++ if CXX is empty
#
# Copyright (C) 2026 The linux-iopf authors

# shellcheck disable=SC2317 # the tests are called by try()
build=$1
src=$(cd "$(dirname "$0")" && pwd)
CC=${CC:-cc} CXX=${CXX-c++} PKG_CONFIG=${PKG_CONFIG:-pkg-config}
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
nr=0
failed=0

# A test is a command; what it prints is shown when it fails.
try() {
	title=$1
	shift
	nr=$((nr + 1))
	if "$@" > "$tmp/out" 2>&1; then
		echo "ok $nr $title"
		return
	fi
	failed=1
	echo "not ok $nr $title"
	sed 's/^/#   /' "$tmp/out"
}

# same LABEL WANTED LABEL HAVE: two sorted files are equal, and not empty
same() {
	[ -s "$2" ] && diff -u --label "$1" --label "$3" "$2" "$4"
}

# ---- header ------------------------------------------------------------------

# The header before all others, and once more. No other kernel header than
# <linux/types.h> may be read: these here end the compiler.
mkdir -p "$tmp/trap/linux"
for name in iommufd vfio pci_regs; do
	echo "#error linux/$name.h" > "$tmp/trap/linux/$name.h"
done
printf '#include <libiopf.h>\n#include <libiopf.h>\nint main(void) { return !iopf_version(); }\n' \
	> "$tmp/alone.c"
cp "$tmp/alone.c" "$tmp/alone.cpp"

compiles() {
	# shellcheck disable=SC2086 # several words, both of them
	$1 -std="$2" -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$tmp/trap" -I"$src" \
		$KHDR_INCLUDES "$3"
}

# ---- what is in the library --------------------------------------------------

code() {
	sed '/^[ \t]*\/\*/,/\*\//d; /^#/d' "$src/libiopf.h"
}
prototypes() {
	code | grep -o '\<iopf_[a-z0-9_]*(' | tr -d '(' | sort -u
}
map_names() {
	sed -n 's/^\t\t\(iopf_[a-z0-9_]*\);$/\1/p' "$src/libiopf.map" | sort
}
exported() {
	nm -D --defined-only "$build/libiopf.so" | awk '$2 != "A" { print $3 }' | sort
}
# Prototypes with their arguments, as the header and the pages have them
declared() {
	code | tr -s '\n\t ' ' ' | tr ';' '\n' |
		sed 's/^.*{//; s/__attribute__.*))) //; s/^ *//' |
		grep '^[a-z_0-9 *]*\<iopf_[a-z0-9_]*(.*)$' | sort
}
manual() {
	awk '/^\.Ft / { type = substr($0, 5) (/\*$/ ? "" : " ") }
		/^\.Fn / && /"/ {
			name = $2
			sub(/^[^"]*"/, ""); sub(/"$/, ""); gsub(/" "/, ", ")
			print type name "(" $0 ")"
		}' "$src"/man/*.3 | sort
}
members() {
	ar t "$build/libiopf.a" | sed 's/\.o$//'
}

one_node() {
	[ -s "$tmp/exported" ] && ! grep -v '@@LIBIOPF_1\.0$' "$tmp/exported"
}
soname() {
	readelf -d "$build/libiopf.so" > "$tmp/dynamic"
	grep -q 'SONAME.*\[libiopf\.so\.1\]' "$tmp/dynamic" &&
		! grep NEEDED "$tmp/dynamic" | grep -v '\[\(libc\|ld-linux\|ld-musl\)[-.a-z0-9_]*\]'
}
# The compiler's own: for 32 bit it reads the program counter by a function.
prefixes() {
	! nm --defined-only -g "$build/libiopf.a" |
		awk 'NF == 3 && $3 !~ /^(iopf_|__x86\.get_pc_thunk\.)/' | grep .
}
# Variables that are there when no handle is: the two that the header names.
state() {
	nm "$build/libiopf.a" | awk '$2 ~ /^[bBdDcCuV]$/ { sub(/\..*/, "", $3); print $3 }' |
		sort > "$tmp/state"
	printf '%s\n' root text > "$tmp/wanted"
	same 'what the header names' "$tmp/wanted" 'what is there' "$tmp/state"
}
# tsort complains about circles of "A needs B".
circles() {
	for file in $(members); do
		nm -g "$build/$file.o" | awk -v file="$file" \
			'$1 == "U" { print "U", $2, file } NF == 3 { print "D", $3, file }'
	done | sort | awk '$1 == "D" { at[$2] = $3; next }
		$2 in at && at[$2] != $3 { print $3, at[$2] }' | sort -u > "$tmp/needs"
	[ -s "$tmp/needs" ] && tsort "$tmp/needs" > "$tmp/order"
}
# Programs know the header, and headers of their own.
internals() {
	for file in "$src"/*.[ch] "$src"/examples/*.*; do
		name=$(basename "$file")
		case $name in
		internal.h|uapi-compat.h|*test.c) continue ;; # tests play the kernel
		esac
		[ -f "$build/${name%.c}.o" ] && members | grep -qx "${name%.c}" && continue
		grep -H -e '#include.*\(internal\|uapi-compat\)\.h' "$file"
	done > "$tmp/found"
	cat "$tmp/found"
	! [ -s "$tmp/found" ]
}
licences() {
	(cd "$src" && members | sed 's/$/.c/' && ls internal.h uapi-compat.h common.h libiopf.h \
		libiopf.map libiopf.pc.in Makefile man/* examples/Makefile examples/*.*) \
		> "$tmp/files"
	(cd "$src" && xargs grep -L 'SPDX.License.Identifier: LGPL-2.1-or-later OR MIT' \
		< "$tmp/files") > "$tmp/wrong"
	cat "$tmp/wrong"
	[ -s "$tmp/files" ] && ! [ -s "$tmp/wrong" ]
}

# ---- options of the program --------------------------------------------------

commands() {
	"$build/iopf" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
}

# Options at the start of a line, "--size N" or "--quiet, -q", without the two
# that every command has and that the page names once.
help_options() {
	"$build/iopf" "$1" --help | sed -n 's/^  \(-[^ ,]*\(, -[^ ,]*\)*\).*/\1/p' | tr -d ' ' |
		tr , '\n' | grep -v -x -e --help -e -h -e --version -e -V | sort
}

# options of the macros on standard input: "Fl Fl size" and "Fl v"
macros() {
	grep -o 'Fl \(Fl \)\?[a-zA-Z][a-zA-Z-]*' | sed 's/^Fl Fl /--/; s/^Fl /-/' | sort -u
}

# The lines of one command in the synopsis
synopsis() {
	awk -v name="$1" '/^\.Sh/ { in_it = /SYNOPSIS/ } /^\.Nm/ { mine = 0 }
		in_it && $1 == ".Cm" { mine = $2 == name } in_it && mine' "$src/iopf.1" | macros
}

# The options that are explained in the section of one command
explained() {
	awk -v name="$1" '/^\.S[sh]/ { mine = $1 == ".Ss" && $2 == name }
		mine && /^\.It.*Fl/' "$src/iopf.1" | macros
}

# What the program takes, by the table that it gives to getopt_long(), and by the
# letters beside it.
taken() {
	file=$(grep -l "^int cmd_$1(" "$src"/*.c)
	{
		awk '/^static const struct option options\[\]/ { mine = 1 } /^};/ { mine = 0 }
			mine' "$file" | sed -n 's/^\t{ "\([^"]*\)".*/--\1/p'
		sed -n 's/.*cli_getopt(argc, argv, "+\?\([a-zA-Z:]*\)".*/\1/p' "$file" |
			tr -d : | grep -o . | sed 's/^/-/'
	} | sort
}

# ---- what others see ---------------------------------------------------------

submake() {
	MAKEFLAGS='' MFLAGS='' make -s -C "$src" CC="$CC" CXX="$CXX" PKG_CONFIG="$PKG_CONFIG" \
		KHDR_INCLUDES="$KHDR_INCLUDES" O="$tmp/build" LDFLAGS= SHARED=1 STATIC=0 "$@"
}
where="DESTDIR=$tmp/root prefix=/opt/iopf libdir=/opt/iopf/lib/triplet includedir=/opt/iopf/h"

dynamic() {
	submake DYNAMIC=1 all &&
		LD_LIBRARY_PATH=$tmp/build "$tmp/build/iopf" --version &&
		readelf -d "$tmp/build/iopf" | grep 'NEEDED.*libiopf\.so\.1'
}
install_root() {
	# shellcheck disable=SC2086 # words without spaces
	submake DYNAMIC=1 install $where
}
# Every function has a page, and what a page refers to is there.
pages() {
	for name in $(exported | sed 's/@.*//') libiopf; do
		page=$tmp/root/opt/iopf/share/man/man3/$name.3
		[ -f "$page" ] || { echo "no page for $name"; return 1; }
		target=$(sed -n '1s/^\.so man3\///p' "$page")
		[ -z "$target" ] || [ -f "$(dirname "$page")/$target" ] ||
			{ echo "$name is in $target, which is not there"; return 1; }
	done
}
pkg() {
	PKG_CONFIG_PATH=$tmp/root/opt/iopf/lib/triplet/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tmp/root \
		"$@"
}
version() {
	[ "$(pkg "$PKG_CONFIG" --modversion libiopf)" = "$(sed -n \
		's/^#define IOPF_VERSION[^"]*"\(.*\)"$/\1/p' "$src/libiopf.h")" ]
}
# example NAME: built with the installed library, it runs up to the device
example() {
	name=$1
	shift
	pkg make -s -C "$src/examples" CC="$CC" CXX="$CXX" CPPFLAGS="$KHDR_INCLUDES" \
		O="$tmp/examples" "$@" "$tmp/examples/$name" || return 1
	LD_LIBRARY_PATH=$tmp/root/opt/iopf/lib/triplet "$tmp/examples/$name" ffff:ff:1f.7 \
		/dev/null > "$tmp/said" 2>&1
	status=$?
	cat "$tmp/said"
	[ "$status" -eq 2 ] && [ "$(wc -l < "$tmp/said")" -eq 1 ] && rm "$tmp/examples/$name"
}
uninstalled() {
	# shellcheck disable=SC2086 # words without spaces
	submake uninstall $where && ! find "$tmp/root" ! -type d | grep .
}

echo 'TAP version 13'
for std in c99 c11 gnu17; do
	try "header in $std" compiles "$CC" $std "$tmp/alone.c"
done
for std in ${CXX:+c++98 c++11 c++17}; do
	try "header in $std" compiles "$CXX" "$std" "$tmp/alone.cpp"
done
prototypes > "$tmp/prototypes"
map_names > "$tmp/map"
try 'the map has the functions of the header' same header "$tmp/prototypes" map "$tmp/map"
try 'state' state
try 'names in libiopf.a' prefixes
try 'no circle among the files' circles
try 'programs include no internal header' internals
try 'licences' licences
declared > "$tmp/declared"
manual > "$tmp/manual"
try 'manual and header agree' same header "$tmp/declared" manual "$tmp/manual"
commands > "$tmp/commands"
sed -n 's/^\.Cm \([a-z-]*\)$/\1/p; /^\.Sh DESCRIPTION/q' "$src/iopf.1" > "$tmp/named"
try 'commands in the manual' same --help "$tmp/commands" iopf.1 "$tmp/named"
while read -r name; do
	help_options "$name" > "$tmp/help"
	taken "$name" > "$tmp/taken"
	synopsis "$name" > "$tmp/synopsis"
	explained "$name" > "$tmp/explained"
	try "$name: --help" same 'what it takes' "$tmp/taken" --help "$tmp/help"
	try "$name: synopsis" same --help "$tmp/help" synopsis "$tmp/synopsis"
	try "$name: text" same --help "$tmp/help" text "$tmp/explained"
done < "$tmp/commands"
if [ -f "$build/libiopf.so" ]; then
	exported > "$tmp/exported"
	sed 's/@.*//' "$tmp/exported" > "$tmp/names"
	try 'what is exported is in the map' same map "$tmp/map" exported "$tmp/names"
	try 'version node' one_node
	try 'soname' soname
	try 'iopf with the shared object' dynamic
	try 'install' install_root
	try 'pages' pages
	try 'version of libiopf.pc' version
	for name in anon file refuse several ${CXX:+anon-cxx}; do
		try "example $name" example "$name"
	done
	try 'example anon, static' example anon LDFLAGS=-static
	try 'uninstall' uninstalled
fi
echo "1..$nr"
exit $failed

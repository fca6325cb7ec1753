#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Options of the iopf program: what it takes, its --help, and iopf(1) in its
# synopsis and in its text have the same. The argument is the program.
#
# Copyright (C) 2026 The linux-iopf authors

# shellcheck disable=SC2317 # the tests are called by try()
iopf=$1
src=$(cd "$(dirname "$0")" && pwd)
page=$src/iopf.1
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
nr=0
failed=0

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

commands() {
	"$iopf" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
}

# Options at the start of a line, "--size N" or "--quiet, -q", without the two
# that every command has and that the page names once.
help_options() {
	"$iopf" "$1" --help | sed -n 's/^  \(-[^ ,]*\(, -[^ ,]*\)*\).*/\1/p' | tr -d ' ' |
		tr , '\n' | grep -v -x -e --help -e -h -e --version -e -V | sort
}

# options of the macros on standard input: "Fl Fl size" and "Fl v"
macros() {
	grep -o 'Fl \(Fl \)\?[a-zA-Z][a-zA-Z-]*' | sed 's/^Fl Fl /--/; s/^Fl /-/' | sort -u
}

# The lines of one command in the synopsis
synopsis() {
	awk -v name="$1" '/^\.Sh/ { in_it = /SYNOPSIS/ } /^\.Nm/ { mine = 0 }
		in_it && $1 == ".Cm" { mine = $2 == name } in_it && mine' "$page" | macros
}

# The options that are explained in the section of one command
explained() {
	awk -v name="$1" '/^\.S[sh]/ { mine = $1 == ".Ss" && $2 == name }
		mine && /^\.It.*Fl/' "$page" | macros
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

commands > "$tmp/commands"
sed -n 's/^\.Cm \([a-z-]*\)$/\1/p; /^\.Sh DESCRIPTION/q' "$page" > "$tmp/named"
echo 'TAP version 13'
try 'commands' same --help "$tmp/commands" iopf.1 "$tmp/named"
while read -r name; do
	help_options "$name" > "$tmp/help"
	taken "$name" > "$tmp/taken"
	synopsis "$name" > "$tmp/synopsis"
	explained "$name" > "$tmp/explained"
	try "$name: --help" same 'what it takes' "$tmp/taken" --help "$tmp/help"
	try "$name: synopsis" same --help "$tmp/help" synopsis "$tmp/synopsis"
	try "$name: text" same --help "$tmp/help" text "$tmp/explained"
done < "$tmp/commands"
echo "1..$nr"
exit $failed

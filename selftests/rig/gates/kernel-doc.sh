#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: code
#
# kernel-doc on the touched files: nothing that the base does not say as well.

. "$(dirname "$0")/../gate.sh"

tool=
for t in tools/docs/kernel-doc scripts/kernel-doc; do
	[ -n "$tool" ] || [ ! -e "$W/apply/$t" ] || tool=$t
done
printf '/**\n * planted - no such parameter\n * @y: none\n */\nint planted(int x)\n{\n}\n' >"$G/doc.c"
(cd "$W/apply" && "./$tool" -none -Wall "$G/doc.c") 2>&1 | grep -qi 'warning' || {
	echo "kernel-doc does not see a planted error"
	exit 1
}
for t in src apply; do
	touched | grep '\.[ch]$' | while read -r f; do
		[ ! -f "$W/$t/$f" ] ||
			(cd "$W/$t" && "./$tool" -none -Wall "$f") 2>&1
	done | sed 's/:[0-9]\+//' | sort >"$G/doc.$t"
done
comm -13 "$G/doc.src" "$G/doc.apply" >"$G/doc.new"
cat "$G/doc.new"
[ ! -s "$G/doc.new" ]

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: selftests drivers include Documentation
#
# The C in our documents is in a file that is compiled, line by line.

. "$(dirname "$0")/../gate.sh"

quoted_in() {
	awk -v block="$1" '
		BEGIN {
			while ((getline line < block) > 0)
				want = want line "\n"
			if (want == "")
				exit 1
		}
		{ text = text $0 "\n" }
		END { exit want == "" || index("\n" text, "\n" want) == 0 }' "$2"
}

q=$G/quoted
echo "not in any file" >"$q"
! quoted_in "$q" "$0" || {
	echo "a planted line is found"
	exit 1
}
r=0
for doc in "$TOP"/Documentation/*.rst; do
	rm -f "$q".*
	awk -v to="$q." '
		/^\.\. code-block:: c$/ { n++; p = 1; next }
		p && /^[^\t]/ { p = 0 }
		p && (!/^$/ || started[n]) {
			started[n] = 1
			sub(/^\t/, "")
			held = held $0 "\n"
			if ($0 != "") {
				printf "%s", held >(to n)
				held = ""
			}
		}
		!p { held = "" }' "$doc"
	for block in "$q".*; do
		[ -f "$block" ] || continue
		found=
		for c in $(c_files); do
			! quoted_in "$block" "$c" || found=$c
		done
		[ -n "$found" ] || {
			echo "$doc: no file of ours has: $(head -n 1 "$block")"
			r=1
		}
	done
done
exit $r

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: code drivers include arch-arm64 selftests/mutants
#
# Each mutant applies to the code that it breaks, all series of it, and says what has to
# catch it, and where. That it does is for `make mutants`.

. "$(dirname "$0")/../gate.sh"

[ "$SERIES" = "$(all_series | tail -n 1)" ] || exit 0
r=0
for m in "$TOP"/selftests/mutants/*.patch; do
	if grep -qx '# tree: module' "$m"; then
		patch -d "$TOP" -p1 -F0 -s -f --dry-run <"$m"
	else
		git -C "$W/apply" apply --check "$m"
	fi || {
		echo "$(basename "$m"): does not apply"
		r=1
	}
	for word in test config; do
		grep -q "^# $word: ." "$m" || {
			echo "$(basename "$m"): no line \"# $word: ...\""
			r=1
		}
	done
done
exit $r

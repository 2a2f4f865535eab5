#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: code drivers include arch-arm64 selftests/mutants
#
# Each mutant applies to the code that it breaks, all series of it. That the tests
# catch them is for `make mutants`.

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
done
exit $r

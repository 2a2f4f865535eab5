#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: series selftests/rig/tree.sh
#
# Every patch applies without fuzz, as git and as patch see it.

. "$(dirname "$0")/../gate.sh"

tree=$W/apply
git -C "$tree" checkout -q -f --detach base
r=0
for p in $(patches); do
	patch -d "$tree" -p1 -F0 --dry-run -f <"$p" >"$G/patch" 2>&1 || r=1
	grep -q 'FAILED\|fuzz' "$G/patch" && {
		cat "$G/patch"
		echo "$(basename "$p"): does not apply cleanly"
		r=1
	}
	git -C "$tree" apply --check "$p" || r=1
	git -C "$tree" apply --index "$p" || r=1
done
"$RIG/tree.sh" apply >/dev/null
exit $r

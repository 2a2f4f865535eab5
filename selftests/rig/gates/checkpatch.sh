#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: series
#
# checkpatch --strict on every patch; what is allowed is in checkpatch.allowed.

. "$(dirname "$0")/../gate.sh"

r=0
for p in $(patches); do
	# The distribution's python has the modules that spdxcheck wants
	(cd "$W/apply" && PATH="/usr/bin:$PATH" ./scripts/checkpatch.pl --strict \
		--no-summary --terse --show-types "$p") >"$G/checkpatch.1" 2>&1 || :
	grep -q 'ERROR\|WARNING\|CHECK\|^$' "$G/checkpatch.1" ||
		[ ! -s "$G/checkpatch.1" ] || {
		cat "$G/checkpatch.1"
		echo "checkpatch did not run"
		r=1
	}
	! grep -q Traceback "$G/checkpatch.1" || {
		cat "$G/checkpatch.1"
		echo "checkpatch could not check SPDX tags"
		r=1
	}
	grep -E 'ERROR:|WARNING:|CHECK:' "$G/checkpatch.1" |
		while read -r line; do
			allowed "$(basename "$p")" "$line" || echo "$line"
		done >"$G/checkpatch.2"
	[ ! -s "$G/checkpatch.2" ] || {
		cat "$G/checkpatch.2"
		r=1
	}
done
exit $r

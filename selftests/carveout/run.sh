#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: run.sh [pool]
#
# Runs the installed tests on a board, as root, on a pool that nobody else uses
# (the first private one, if none is named), and on all shared ones: all of it is filled
# and freed again. The module must be loaded; it is not unloaded. Exits 0 if nothing
# failed.

cd "$(dirname "$0")" || exit 1
if [ $# -gt 0 ]; then
	export CARVEOUT_POOL="$1"
	[ -e "/dev/dma_heap/carveout-$1" ] || {
		echo "there is no pool $1"
		exit 1
	}
fi
failed=
for t in carveout_heap carveout_stress carveout_large carveout_kvm carveout_unbind; do
	echo "# $t"
	"./$t" || [ $? = 4 ] || failed="$failed $t"
done
for p in /sys/class/misc/carveout-*; do
	[ "$(cat "$p/shared" 2>/dev/null)" = 1 ] || continue
	echo "# carveout_shared"
	CARVEOUT_POOL=${p##*/carveout-} ./carveout_shared || [ $? = 4 ] || failed="$failed carveout_shared"
done
[ -z "$failed" ] || echo "# failed:$failed"
[ -z "$failed" ]

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: run.sh [pool]
#
# Runs the installed tests on a board, as root, on a pool that nobody else uses
# (the first, if none is named): all of it is filled and freed again. The module
# must be loaded; it is not unloaded. Exits 0 if nothing failed.

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
[ -z "$failed" ] || echo "# failed:$failed"
[ -z "$failed" ]

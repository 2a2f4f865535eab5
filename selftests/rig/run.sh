#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make run: builds what is needed, boots the patched kernel on a CPU without
# FEAT_S2FWB and on one with it, and shows what /tests/s2_show saw: which memory
# behind a memslot, flag or not, stage-2 type, what the guest's access did; and
# /tests/vfio_show: which BAR, mapped as what, host and stage-2 type, access.
# The same for a buffer of the carve-out module, with its pool's counters.

. "$(dirname "$0")/lib.sh"

"$RIG/tools.sh"
lock
"$RIG/base.sh"
"$RIG/build.sh" patched
build=$W/patched/$BUILD
"$RIG/initramfs.sh" tests
"$RIG/initramfs.sh" modules "$build"

dir=$LOGS/run
mkdir -p "$dir"
for c in n1 n2; do
	{
		list_for "$c" module_load
		echo "60 s2_show /tests/s2_show"
		echo "60 vfio_show /tests/vfio_show"
		echo "60 carveout_show /tests/carveout_show"
	} | new_boot "$dir/$c" "$build" 180
done
quietly "booting" "$dir/log" "$RIG/boots.sh" "$dir/n1" "$dir/n2"

rc=0
for c in n1 n2; do
	cpu=$(awk -v n="$c" '$1 == n { print $2 }' "$RIG/configs")
	fwb="with FEAT_S2FWB"
	[ "$c" != n1 ] || fwb="without FEAT_S2FWB"
	echo
	echo "$cpu ($fwb):"
	# libkvm says which seed it has
	for t in s2_show vfio_show carveout_show; do
		output_of "$dir/$c/port.log" "$t" | grep -v "^Random seed:"
	done
	"$RIG/report.sh" boot "$c" "$dir/$c" | grep '^fail\|^skip' && rc=1
done
echo
echo "console logs: $dir/n1/console.log $dir/n2/console.log"
exit $rc

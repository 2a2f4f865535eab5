#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make run: builds what is needed, boots the patched kernel on a CPU without
# FEAT_S2FWB and on one with it, and shows what /tests/s2_show saw: which memory
# behind a memslot, flag or not, stage-2 type, what the guest's access did.

. "$(dirname "$0")/lib.sh"

"$RIG/tools.sh"
lock
"$RIG/base.sh"
"$RIG/build.sh" patched
"$RIG/initramfs.sh" patched

dir=$LOGS/run
rm -rf "$dir"
for c in n1 n2; do
	mkdir -p "$dir/$c"
	{
		list_for "$c" module_load
		echo "60 s2_show /tests/s2_show"
	} >"$dir/$c/list"
done
quietly "booting" "$dir/log" "$RIG/boots.sh" "$W/patched/$BUILD" "$dir" 180

rc=0
for c in n1 n2; do
	cpu=$(awk -v n="$c" '$1 == n { print $2 }' "$RIG/configs")
	fwb="with FEAT_S2FWB"
	[ "$c" != n1 ] || fwb="without FEAT_S2FWB"
	echo
	echo "$cpu ($fwb):"
	# libkvm says which seed it has
	output_of "$dir/$c/port.log" s2_show | grep -v "^Random seed:"
	"$RIG/report.sh" boot "$c" "$dir/$c" | grep '^fail\|^skip' && rc=1
done
echo
echo "console logs: $dir/n1/console.log $dir/n2/console.log"
exit $rc

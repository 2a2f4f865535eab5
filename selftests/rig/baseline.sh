#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Compares what s2_dump_baseline wrote on the patched kernel, in the boots that
# check.sh has just made, with what it writes on the base kernel: nothing may
# change for those who do not use the flag. One result a configuration. The base
# kernel's files are kept until it or the test changes.

. "$(dirname "$0")/lib.sh"
lock

test=s2_dump_baseline
build=$W/src/build
dir=$LOGS/baseline
key=$(hash_of "$build/arch/arm64/boot/Image" "$build/tests.cpio" \
	"$RIG/boot.sh" "$RIG/configs" "$TOP/selftests/tests")
if [ "$(cat "$dir/key" 2>/dev/null)" != "$key" ]; then
	rm -rf "$dir"
	for c in $(rig_configs); do
		list_for "$c" "$test" >"$LOGS/list"
		grep -q " $test " "$LOGS/list" || continue
		mkdir -p "$dir/$c"
		mv "$LOGS/list" "$dir/$c/list"
	done
	quietly "$test on the unpatched kernel" "$LOGS/baseline.log" \
		"$RIG/boots.sh" "$build" "$dir" 120 >&2
	echo "$key" >"$dir/key"
fi

for c in $(rig_configs); do
	[ -d "$dir/$c" ] || continue
	old=$dir/$c.unpatched new=$dir/$c.patched
	file_of "$dir/$c/port.log" "$test" >"$old"
	file_of "$LOGS/boot/$c/port.log" "$test" >"$new"
	if [ ! -s "$old" ] && [ ! -s "$new" ] &&
		grep -q "^skip	$c/$test" "$W/results.tsv"; then
		: # it cannot run here, which is a result of its own
	elif [ ! -s "$old" ] || [ ! -s "$new" ]; then
		printf 'fail\t%s/baseline\tno file from the test\n' "$c"
	elif diff -u "$old" "$new" >"$dir/$c.diff"; then
		printf 'pass\t%s/baseline\t\n' "$c"
	else
		printf 'fail\t%s/baseline\tstage 2 differs: %s\n' "$c" "$dir/$c.diff"
	fi
done

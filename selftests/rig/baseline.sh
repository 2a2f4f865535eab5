#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: baseline.sh plan|results
#
# Compares what the *_dump_baseline tests wrote on the patched kernel, in the boots
# of check.sh, with what they write on the base kernel: nothing may change for those
# who ask for nothing. One result a test and configuration. "plan" says which boots it
# takes. The base kernel's files are kept until it or the tests change.

. "$(dirname "$0")/lib.sh"
lock

tests="s2_dump_baseline vfio_dump_baseline"
build=$W/src/build
dir=$LOGS/baseline

plan() {
	"$RIG/build.sh" unpatched >&2
	"$RIG/initramfs.sh" modules "$build" >&2
	for c in $(rig_configs both); do
		# shellcheck disable=SC2086	# names
		list_for "$c" $tests | grep -v ' carveout_' >"$W/list"
		! grep -q '_dump_baseline ' "$W/list" ||
			plan_boot "$dir/$c" "$build" 120 <"$W/list"
	done
}

# compare CONFIGURATION TEST
compare() {
	c=$1 test=$2 label=$(label_of "$1")
	old=$dir/$c.$test.unpatched new=$dir/$c.$test.patched
	file_of "$dir/$c/port.log" "$test" >"$old"
	file_of "$LOGS/boot/$label/port.log" "$test" >"$new"
	if [ ! -s "$old" ] && [ ! -s "$new" ] &&
		grep -q "^skip	$label/$test" "$W/results.tsv"; then
		: # it cannot run here, which is a result of its own
	elif [ ! -s "$old" ] || [ ! -s "$new" ]; then
		printf 'fail\t%s/baseline/%s\tno file from the test\n' "$label" "$test"
	elif diff -u "$old" "$new" >"$dir/$c.$test.diff"; then
		printf 'pass\t%s/baseline/%s\t\n' "$label" "$test"
	else
		printf 'fail\t%s/baseline/%s\tit differs: %s\n' "$label" "$test" "$dir/$c.$test.diff"
	fi
}

results() {
	for c in $(rig_configs both); do
		[ -d "$dir/$c" ] || continue
		# what cannot run in a configuration cannot on this kernel either
		judge_boot "$c" "$dir/$c" >/dev/null
		for test in $tests; do
			! grep -q " $test " "$dir/$c/list" || compare "$c" "$test"
		done
	done
}

case $1 in
plan | results) "$1" ;;
*) die "plan or results?" ;;
esac

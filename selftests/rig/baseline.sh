#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Compares what the *_dump_baseline tests wrote on the patched kernel, in the boots
# that check.sh has just made, with what they write on the base kernel: nothing may
# change for those who ask for nothing. One result a test and configuration. The
# base kernel's files are kept until it or the tests change.

. "$(dirname "$0")/lib.sh"
lock

tests="s2_dump_baseline vfio_dump_baseline"
build=$W/src/build
dir=$LOGS/baseline
key=$(hash_of "$build/arch/arm64/boot/Image" "$build/tests.cpio" \
	"$RIG/boot.sh" "$RIG/configs" "$TOP/selftests/tests")
if [ "$(cat "$dir/key" 2>/dev/null)" != "$key" ]; then
	rm -rf "$dir"
	for c in $(rig_configs both); do
		# shellcheck disable=SC2086	# names
		list_for "$c" $tests >"$LOGS/list"
		grep -q "_dump_baseline " "$LOGS/list" || continue
		mkdir -p "$dir/$c"
		mv "$LOGS/list" "$dir/$c/list"
	done
	quietly "$tests on the unpatched kernel" "$LOGS/baseline.log" \
		"$RIG/boots.sh" "$build" "$dir" 120 >&2
	echo "$key" >"$dir/key"
fi

# compare CONFIGURATION TEST
compare() {
	c=$1 test=$2
	old=$dir/$c.$test.unpatched new=$dir/$c.$test.patched
	file_of "$dir/$c/port.log" "$test" >"$old"
	file_of "$LOGS/boot/$c/port.log" "$test" >"$new"
	if [ ! -s "$old" ] && [ ! -s "$new" ] &&
		grep -q "^skip	$c/$test" "$W/results.tsv"; then
		: # it cannot run here, which is a result of its own
	elif [ ! -s "$old" ] || [ ! -s "$new" ]; then
		printf 'fail\t%s/baseline/%s\tno file from the test\n' "$c" "$test"
	elif diff -u "$old" "$new" >"$dir/$c.$test.diff"; then
		printf 'pass\t%s/baseline/%s\t\n' "$c" "$test"
	else
		printf 'fail\t%s/baseline/%s\tit differs: %s\n' "$c" "$test" "$dir/$c.$test.diff"
	fi
}
for c in $(rig_configs); do
	[ -d "$dir/$c" ] || continue
	for test in $tests; do
		grep -q " $test " "$dir/$c/list" || continue
		compare "$c" "$test"
	done
done

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs the kernel trees' own KVM selftests, those of the base kernel on the base
# kernel and those of the patched tree on the patched kernel, and prints one
# result for each test: pass where both kernels say the same, whatever that is.
# A difference is looked at once more before it counts. Results of a kernel are
# kept until the kernel, the tests or what runs them change. A test that only the
# patched tree has gives its own results.

. "$(dirname "$0")/lib.sh"
lock

configs='n1 n2'
limit=1500

# The lines of /rig/list for the tests of a build
list_of() {
	while read -r t; do
		line=$(awk -v t="$t" '$1 == t' "$RIG/upstream")
		# shellcheck disable=SC2086	# words
		set -- ${line:-$t 60}
		[ "$2" != - ] || continue
		s=$2
		shift 2
		echo "$s $t /kvm/$t $*"
	done <"$1/kvm.list"
}

# results DIRECTORY: the results of each configuration, without reasons, which
# hold numbers
results() {
	for c in $configs; do
		awk -v config="upstream-$c" -f "$RIG/report.awk" "$1/$c/port.log" |
			cut -f 1,2 | sort >"$1/$c/results"
	done
}

# run WHICH BUILD DIRECTORY: boot with the lists that are in the directory
run() {
	quietly "upstream KVM selftests on the $1 kernel" "$3/log" \
		"$RIG/boots.sh" "$2" "$3" "$limit" "$2/kvm.cpio" >&2
	results "$3"
}

for which in unpatched patched; do
	case $which in
	unpatched) build=$W/src/build ;;
	patched) build=$W/patched/build ;;
	esac
	dir=$LOGS/upstream/$which
	key=$(hash_of "$build/arch/arm64/boot/Image" "$build/kvm.cpio" \
		"$RIG/init" "$RIG/boot.sh" "$RIG/configs" "$RIG/upstream")
	[ "$(cat "$dir/key" 2>/dev/null)" != "$key" ] || continue
	rm -rf "$dir"
	for c in $configs; do
		mkdir -p "$dir/$c"
		list_of "$build" >"$dir/$c/list"
	done
	run "$which" "$build" "$dir"
	echo "$key" >"$dir/key"
done

# of TEST RESULTS: the results of one test and its parts
of() { awk -F '\t' -v n="$1" '$2 == n || index($2, n "/") == 1' "$2"; }

old=$LOGS/upstream/unpatched new=$LOGS/upstream/patched
# is_new TEST: the base kernel's tree does not have it
is_new() { ! grep -qxF "$1" "$W/src/build/kvm.list"; }
# differing CONFIGURATION: names of tests with other results
differing() {
	c=$1
	while read -r _ t _; do
		is_new "$t" || [ "$(of "upstream-$c/$t" "$old/$c/results")" = \
			"$(of "upstream-$c/$t" "$new/$c/results")" ] || echo "$t"
	done <"$new/$c/list"
}

# A test that differs is run again, alone, on both kernels, and takes the place
# of the first run's results only if the kernels now agree.
again=$LOGS/upstream/again
rm -rf "$again"
for c in $configs; do
	for t in $(differing "$c"); do
		for which in unpatched patched; do
			mkdir -p "$again/$which/$c"
			awk -v t="$t" '$2 == t' "$new/$c/list" >>"$again/$which/$c/list"
		done
	done
done
if [ -d "$again" ]; then
	for which in unpatched patched; do
		build=$W/src/build
		[ "$which" = unpatched ] || build=$W/patched/build
		for c in $configs; do
			mkdir -p "$again/$which/$c"
			touch "$again/$which/$c/port.log"
		done
		run "$which" "$build" "$again/$which"
	done
fi

for c in $configs; do
	for which in unpatched patched; do
		d=$LOGS/upstream/$which/$c
		grep -q '^DONE' "$d/port.log" && [ "$(cat "$d/qemu.status")" = 0 ] ||
			printf 'fail\tupstream-%s/boot-%s\tdid not end; %s\n' "$c" "$which" "$d/console.log"
	done
	"$RIG/report.sh" boot "upstream-$c" "$old/$c" | grep /kernel-log | cut -f 1,2 >"$old/$c/klog"
	"$RIG/report.sh" boot "upstream-$c" "$new/$c" | grep /kernel-log >"$new/$c/klog"
	if [ "$(cat "$old/$c/klog")" = "$(cut -f 1,2 "$new/$c/klog")" ]; then
		printf 'pass\tupstream-%s/kernel-log\t\n' "$c"
	else
		sed -n 's/^pass/fail/; p' "$new/$c/klog"
	fi
	bad=$(differing "$c")
	while read -r _ t _; do
		if is_new "$t"; then
			# a test that the series adds speaks for itself
			awk -v config="upstream-$c" -f "$RIG/report.awk" "$new/$c/port.log" |
				awk -F '\t' -v n="upstream-$c/$t" '$2 == n || index($2, n "/") == 1'
			continue
		fi
		case " $(echo "$bad" | tr '\n' ' ') " in
		*" $t "*)
			a=$(of "upstream-$c/$t" "$again/unpatched/$c/results")
			b=$(of "upstream-$c/$t" "$again/patched/$c/results")
			if [ -n "$a" ] && [ "$a" = "$b" ]; then
				printf 'pass\tupstream-%s/%s\tafter a second run\n' "$c" "$t"
			else
				printf 'fail\tupstream-%s/%s\tunpatched: %s; patched: %s\n' "$c" "$t" \
					"$(of "upstream-$c/$t" "$old/$c/results" | cut -f1 | sort | uniq -c | tr -s ' \n' ' ')" \
					"$(of "upstream-$c/$t" "$new/$c/results" | cut -f1 | sort | uniq -c | tr -s ' \n' ' ')"
			fi
			;;
		*)
			printf 'pass\tupstream-%s/%s\t\n' "$c" "$t"
			;;
		esac
	done <"$new/$c/list"
done

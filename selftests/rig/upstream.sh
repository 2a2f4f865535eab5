#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: upstream.sh plan|results
#
# Runs the kernel trees' own KVM selftests, those of the base kernel on the base
# kernel and those of the patched tree on the patched kernel, and prints one
# result for each test: pass where both kernels say the same, whatever that is.
# A difference is looked at once more before it counts. Those that the base's tree does
# not have, and those that the file "upstream" has for the patched kernel alone, give
# their own results. "plan" says which boots it takes; those of a kernel are kept until
# the kernel, the tests or what runs them change. On n2 they are those that map memory:
# the rest does not depend on FEAT_S2FWB.

. "$(dirname "$0")/lib.sh"
lock

configs='n1 n2'
limit=1500

memory='dirty|memory|memslot|mmu|page_|prefault|pre_fault|guest_memfd|access_tracking|block_trans|noncache|memtype'

# list_of KERNEL CONFIGURATION: the lines of /rig/list
list_of() {
	lo_which=$1 lo_config=$2
	while read -r t; do
		[ "$lo_config" = n1 ] || echo "$t" | grep -Eq "$memory" || continue
		line=$(awk -v t="$t" '$1 == t' "$RIG/upstream")
		# shellcheck disable=SC2086	# words
		set -- ${line:-$t 60 both}
		case $3 in
		both | "$lo_which") ;;
		*) continue ;;
		esac
		s=$2
		shift 3
		echo "$s $t /kvm/$t $*"
	done <"$(build_of "$1")/kvm.list"
}

build_of() {
	case $1 in
	unpatched) echo "$W/src/build" ;;
	patched) echo "$W/patched/build" ;;
	esac
}
ended() { grep -q '^DONE' "$1/port.log" && [ "$(cat "$1/qemu.status")" = 0 ]; }

plan() {
	"$RIG/build.sh" unpatched >&2
	for which in unpatched patched; do
		build=$(build_of $which)
		"$RIG/initramfs.sh" modules "$build" >&2
		"$RIG/initramfs.sh" kvm "$build" >&2
		for c in $configs; do
			list_of "$which" "$c" | plan_boot "$LOGS/upstream/$which/$c" "$build" \
				$limit "$build/kvm.cpio"
		done
	done
}

# results_in BOOT: its results without reasons, which hold numbers
results_in() {
	awk -v config="upstream-$(basename "$1")" -f "$RIG/report.awk" "$1/port.log" |
		cut -f 1,2 | sort >"$1/results"
}
# of TEST RESULTS: the results of one test and its parts
of() { awk -F '\t' -v n="$1" '$2 == n || index($2, n "/") == 1' "$2"; }

old=$LOGS/upstream/unpatched new=$LOGS/upstream/patched again=$LOGS/upstream/again
# is_alone TEST: it is not run on the base kernel
is_alone() { ! awk -v t="$1" '$2 == t { found = 1 } END { exit !found }' "$old/n1/list"; }
# differing CONFIGURATION: names of tests with other results
differing() {
	c=$1
	while read -r _ t _; do
		is_alone "$t" || [ "$(of "upstream-$c/$t" "$old/$c/results")" = \
			"$(of "upstream-$c/$t" "$new/$c/results")" ] || echo "$t"
	done <"$new/$c/list"
}

results() {
	for which in unpatched patched; do
		for c in $configs; do
			d=$LOGS/upstream/$which/$c
			results_in "$d"
			! ended "$d" || [ ! -f "$d/key" ] || mv "$d/key" "$d/passed"
		done
	done

	# A test that differs is run again, alone, on both kernels, and takes the place
	# of the first run's results only if the kernels now agree.
	rm -rf "$again"
	for c in $configs; do
		bad=$(differing "$c" | tr '\n' ' ')
		[ -n "$bad" ] || continue
		for which in unpatched patched; do
			build=$(build_of $which)
			awk -v bad=" $bad " 'index(bad, " " $2 " ")' "$new/$c/list" |
				new_boot "$again/$which/$c" "$build" $limit "$build/kvm.cpio"
		done
	done
	if [ -d "$again" ]; then
		"$RIG/boots.sh" "$again"/*/* >&2
		for d in "$again"/*/*; do
			results_in "$d"
		done
	fi

	for c in $configs; do
		for which in unpatched patched; do
			d=$LOGS/upstream/$which/$c
			ended "$d" ||
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
			if is_alone "$t"; then
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
}

case $1 in
plan | results) "$1" ;;
*) die "plan or results?" ;;
esac

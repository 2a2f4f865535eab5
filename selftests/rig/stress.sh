#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make stress: what make check does for a minute, for as long as one likes: OPS random
# operations on memslots and the memory behind them, alone, as many with noise, and as many
# in each of two processes (s2_fuzz); ROUNDS of each way in which memory goes while a guest
# or a process uses it: memslots, mappings and BARs (vfio_barrier: an eighth for each of four
# kinds of BAR, with FEAT_S2FWB and without; of sleeps an eighth of that, of resets, which
# take 100 ms, a tenth), buffers (carveout_kvm: a quarter with the flag and without, in each
# configuration) and, with CONFIG=dt, pools (carveout_unbind); as many, but 1000 at most, of
# VMs that come and go (s2_rounds) and on n2 of loads of the carve-out module
# (carveout_rounds); and each allocation failing once (s2_enomem, carveout_enomem). SEED=
# repeats a run, ONLY= names programs, CONFIG= configurations, n1,n2 if not given, DEBUG=1
# takes the kernel with KASAN, lockdep and kmemleak, DEBUG=kcsan the one that looks for data
# races. What fails leaves the sequence of operations that does; if nothing does,
# Documentation/stress.txt has the figures of the run (stress-debug.txt, stress-s2_fuzz.txt,
# stress-dt.txt, and so on), unless that was SEED='s or KERNEL='s. Beside other work it may
# fail: some tests look at the clock.

. "$(dirname "$0")/lib.sh"

usual=n1,n2
OPS=${OPS:-200000} ROUNDS=${ROUNDS:-10000} CONFIG=${CONFIG:-$usual}
case $OPS$ROUNDS${SEED:-0} in
*[!0-9]*) die "OPS=$OPS ROUNDS=$ROUNDS SEED=${SEED:-}: whole numbers are wanted" ;;
esac
# Of VMs and loads, which take longer
few=$ROUNDS
[ "$few" -le 1000 ] || few=1000
# at_least_one N: none at all would be those that the test has by itself
at_least_one() { echo $(($1 > 0 ? $1 : 1)); }
configs=$(echo "$CONFIG" | tr ',' ' ')

tests='s2_fuzz s2_enomem s2_rounds s2_out_of_memory vfio_barrier carveout_rounds carveout_enomem
	carveout_kvm carveout_unbind'
for t in $(echo "${ONLY:-}" | tr ',' ' '); do
	one_of ONLY "$t" "$tests"
done
[ -z "${ONLY:-}" ] || tests=$(echo "$ONLY" | tr ',' ' ')
for c in $configs; do
	one_of CONFIG "$c" "$(rig_configs both; echo dt)"
	# shellcheck disable=SC2086	# names
	list_for "$c" $tests | awk '{ print $2 }' | grep -qv '_load$' ||
		die "CONFIG=$c: nothing of ONLY=${ONLY:-} is run there"
done

# said DIRECTORY: what these programs printed in a boot
said() {
	for s_test in $tests; do
		output_of "$1/port.log" "$s_test"
	done
}

"$RIG/tools.sh"
lock
"$RIG/base.sh"
"$RIG/build.sh" patched
"$RIG/initramfs.sh" tests
"$RIG/initramfs.sh" modules "$W/patched/$BUILD"

# Nothing that is alive is stopped: a day
limit=86400
boots=
for c in $configs; do
	dir=$LOGS/stress/$(label_of "$c")
	# shellcheck disable=SC2086	# names
	list_for "$c" $tests | sed "
		/^[0-9]* s2_fuzz /s|MT_OPS=[0-9]*|MT_OPS=$OPS${SEED:+ MT_SEED=$SEED}|
		/^[0-9]* s2_/s|MT_ROUNDS=[0-9]*|MT_ROUNDS=$few|
		/^[0-9]* vfio_barrier /s|MT_ROUNDS=[0-9]*|MT_ROUNDS=$(at_least_one $((ROUNDS / 8)))|
		/^[0-9]* carveout_kvm /s|MT_ROUNDS=[0-9]*|MT_ROUNDS=$(at_least_one $((ROUNDS / 4)))|
		/^[0-9]* carveout_unbind /s|MT_ROUNDS=[0-9]*|MT_ROUNDS=$ROUNDS|
		/^[0-9]* carveout_rounds /s|rounds [0-9][0-9]*|rounds $few|
		s/^[0-9]* /$limit /" |
		new_boot "$dir" "$W/patched/$BUILD" "$limit"
	boots="$boots $dir"
done
say "stress: $OPS operations and $ROUNDS rounds; how far it is: $LOGS/stress/*/port.log"
# shellcheck disable=SC2086	# paths of ours, without blanks
"$RIG/boots.sh" $boots

results=$LOGS/stress/results
for dir in $boots; do
	"$RIG/report.sh" boot "$(basename "$dir")" "$dir"
	# The seed, what was done, and, where it failed, what does; not how far it had got
	said "$dir" | sed -n "/ of [0-9]* operations$/d; s|^# \([^ R]\)|$(basename "$dir"): \1|p" >&2
done >"$results"

# The figures, with what they are of
table() {
	echo "make stress OPS=$OPS ROUNDS=$ROUNDS CONFIG=$CONFIG${ONLY:+ ONLY=$ONLY}${DEBUG:+ DEBUG=$DEBUG}"
	echo "base $(head -n 1 "$W/source")"
	echo "series $("$RIG/figures.sh" code)"
	echo "emulator $("$(emulator_of n1)" --version | head -n 1), on $(nproc) CPUs"
	echo
	for dir in $boots; do
		said "$dir"
	done | sed -n '
		s/^# MT_OPS=\([0-9]*\) .*/s2_fuzz: \1 operations/p
		s/^# \([A-Za-z0-9_ ]*\)[,:].* \([0-9]*\) rounds, .*/\1: \2 rounds/p
		s/^# MT_ROUNDS=\([0-9]*\)$/VMs come and go: \1 VMs/p
		s/^# \([0-9]*\) times out of memory$/out of memory: \1 times/p
		s/^# .* less free after \([0-9]*\) rounds$/module loaded: \1 times/p' |
		awk -F ': ' '{ n[$1] += $2 + 0; sub(/^[0-9]* /, "", $2); what[$1] = $2 }
			END { for (w in n) printf "%-24s %8d %s\n", w, n[w], what[w] }' | sort
	for dir in $boots; do
		printf '\n%s\n' "$(basename "$dir")"
		for t in $tests; do
			r=$(awk -F '\t' -v t="/$t(/|\$)" '$2 ~ t { n[$1]++ }
				END { print n["pass"] + 0, n["fail"] + 0, n["skip"] + 0 }' "$dir/results")
			took=$(awk -v t="$t" '$1 == "END" && $2 == t { print $4 }' "$dir/port.log")
			[ -z "$took" ] || echo "$t $r $took"
		done | awk '{ printf "%-22s %4d passed %4d failed %4d skipped %7d s\n", $1, $2, $3, $4, $5 }'
		said "$dir" | sed -n 's/^# \(.*: [0-9]* \(allocations\|rounds\), .*\)/  \1/p'
	done
}
"$RIG/report.sh" judge "$results" >"$results.judged"
for dir in $boots; do
	grep "	$(basename "$dir")/" "$results.judged" >"$dir/results" || :
done
table >"$LOGS/stress/table"
cat "$LOGS/stress/table"
doc=Documentation/stress${debug:+-$debug}${ONLY:+-$(echo "$ONLY" | tr ',' '-')}
[ "$CONFIG" = $usual ] || doc=$doc-$(echo "$CONFIG" | tr ',' '-')
doc=$doc.txt
# What others can repeat by the line that it begins with
if [ -z "${SEED:-}${KERNEL:-}" ] && ! grep -q '^fail' "$results.judged"; then
	cp "$LOGS/stress/table" "$TOP/$doc"
	say "that is in $doc now"
fi
"$RIG/report.sh" summary "$results"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make stress: what make check does for a minute, for as long as one likes: OPS random
# operations on memslots and the memory behind them, alone and once more with noise
# (s2_fuzz), ROUNDS of each way in which a BAR goes away under a vCPU (vfio_barrier),
# and on n2 as many loads of the carve-out module (carveout_rounds). SEED= repeats a run,
# CONFIG= names configurations, DEBUG=1 takes the kernel with KASAN, lockdep and kmemleak.
# What fails leaves the sequence of operations that does.

. "$(dirname "$0")/lib.sh"

OPS=${OPS:-200000} ROUNDS=${ROUNDS:-1000} CONFIG=${CONFIG:-n1,n2}
case $OPS$ROUNDS${SEED:-0} in
*[!0-9]*) die "OPS=$OPS ROUNDS=$ROUNDS SEED=${SEED:-}: whole numbers are wanted" ;;
esac
configs=$(echo "$CONFIG" | tr ',' ' ')
for c in $configs; do
	one_of CONFIG "$c" "$(rig_configs both)"
done

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
	list_for "$c" s2_fuzz vfio_barrier carveout_rounds | sed "
		/^[0-9]* s2_fuzz /s|MT_OPS=[0-9]*|MT_OPS=$OPS${SEED:+ MT_SEED=$SEED}|
		/^[0-9]* vfio_barrier /s|MT_ROUNDS=[0-9]*|MT_ROUNDS=$ROUNDS|
		/^[0-9]* carveout_rounds /s|rounds [0-9][0-9]*|rounds $ROUNDS|
		s/^[0-9]* \(s2_fuzz\|vfio_barrier\|carveout_rounds\) /$limit \1 /" |
		new_boot "$dir" "$W/patched/$BUILD" "$limit"
	boots="$boots $dir"
done
say "stress: $OPS operations and $ROUNDS rounds; how far it is: $LOGS/stress/*/port.log"
# shellcheck disable=SC2086	# paths of ours, without blanks
"$RIG/boots.sh" $boots

results=$W/stress.tsv
for dir in $boots; do
	"$RIG/report.sh" boot "$(basename "$dir")" "$dir"
	# The seed, what was done, and, where it failed, what does
	for t in s2_fuzz vfio_barrier; do
		output_of "$dir/port.log" "$t" | sed -n "s|^# \(.*\)|$(basename "$dir"): \1|p" >&2
	done
done >"$results"
"$RIG/report.sh" summary "$results"

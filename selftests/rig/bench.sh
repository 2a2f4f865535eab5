#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make bench: what stage-2 faults, populating a slot, and memslots cost in instructions,
# exactly (one CPU under -icount), on the base kernel and on the patched one; and what
# buffers of the carve-out module cost, beside those of the system heap. Prints a
# table, checks the promises, and leaves the table in Documentation/bench.txt, where
# the documents have their figures from (figures.sh).

. "$(dirname "$0")/lib.sh"

"$RIG/tools.sh"
lock
RIG_QUIET=1 "$RIG/base.sh"
"$RIG/build.sh" unpatched
"$RIG/build.sh" patched
"$RIG/initramfs.sh" tests

config=max
# To zero memory takes next to nothing on max, which has FEAT_MOPS. This is a CPU that
# needs a carve-out; with a counter as fast as that of max, of instructions
zeroing=n1 fast=cntfrq=1000000000
dir=$LOGS/bench
mkdir -p "$dir"
ICOUNT=1
export ICOUNT
for which in unpatched patched; do
	build=$W/src/build
	[ $which = unpatched ] || build=$W/patched/build
	"$RIG/initramfs.sh" modules "$build"
	{
		list_for "$config" module_load
		echo "900 s2_fault_bench /tests/s2_fault_bench"
	} | new_boot "$dir/$which/$config" "$build" 1200
done
pool=tb:1G@0xC0000000
for c in $config $zeroing; do
	new_boot "$dir/carveout/$c" "$W/patched/build" 1200 <<END
60 carveout_load insmod /modules/dmabuf_importer.ko && insmod /modules/carveout_heap.ko pools=$pool
900 carveout_bench /tests/carveout_bench
END
	printf '%s\n' -cpu "$(config_field "$c" 2),$fast" >"$dir/carveout/$c/extra"
done
quietly "counting on both kernels" "$dir/log" "$RIG/boots.sh" \
	"$dir/unpatched/$config" "$dir/patched/$config" \
	"$dir/carveout/$config" "$dir/carveout/$zeroing"
for which in unpatched patched; do
	output_of "$dir/$which/$config/port.log" s2_fault_bench |
		awk 'NF == 2 && $2 ~ /^[0-9]+$/' >"$dir/$which.counts"
	"$RIG/report.sh" boot "$config" "$dir/$which/$config" | grep '^fail' && {
		output_of "$dir/$which/$config/port.log" s2_fault_bench
		die "the $which kernel's run failed; console: $dir/$which/$config/console.log"
	}
done

for c in $config $zeroing; do
	output_of "$dir/carveout/$c/port.log" carveout_bench |
		awk -v c="$c" -v zeroing=$zeroing 'NF == 2 && $2 ~ /^-?[0-9]+$/ &&
			($1 ~ /^(clear|zero|scrub)_/) == (c == zeroing)' >>"$dir/patched.counts"
done

rc=0
"$RIG/bench.awk" "$dir/unpatched.counts" "$dir/patched.counts" >"$dir/table" || rc=1
{
	echo "base $(head -n 1 "$W/source" | cut -d' ' -f 1)"
	echo "emulator $(qemu-system-aarch64 --version | head -n 1)"
	echo "compiler $(aarch64-linux-gnu-gcc --version | head -n 1)"
	echo "cpu $(config_field $config 2), to zero and to scrub $(config_field $zeroing 2), one, -icount shift=0"
	echo "code $("$RIG/figures.sh" code)"
	echo
	sed '/^FAILED/d' "$dir/table"
} >"$dir/bench.txt"
cat "$dir/table"
[ $rc = 0 ] || die "a promise is not kept: Documentation/bench.txt is as it was"
cp "$dir/bench.txt" "$TOP/Documentation/bench.txt"
"$RIG/figures.sh" write

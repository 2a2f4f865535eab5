#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make bench: what a stage-2 write fault costs in instructions, exactly (one
# CPU under -icount), on the base kernel and on the patched one, without the
# flag and with it; and how many faults fill a flagged slot of 1 GiB. Prints a
# table, writes a CSV, checks the promises, and prints where the CSV is.

. "$(dirname "$0")/lib.sh"

"$RIG/tools.sh"
lock
RIG_QUIET=1 "$RIG/base.sh"
"$RIG/build.sh" unpatched
"$RIG/build.sh" patched
"$RIG/initramfs.sh" tests

config=max
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
		echo "600 s2_fault_bench /tests/s2_fault_bench"
	} | new_boot "$dir/$which/$config" "$build" 900
done
quietly "counting on both kernels" "$dir/log" \
	"$RIG/boots.sh" "$dir/unpatched/$config" "$dir/patched/$config"
for which in unpatched patched; do
	output_of "$dir/$which/$config/port.log" s2_fault_bench |
		awk 'NF == 2 && $2 ~ /^[0-9]+$/' >"$dir/$which.counts"
	"$RIG/report.sh" boot "$config" "$dir/$which/$config" | grep '^fail' && {
		output_of "$dir/$which/$config/port.log" s2_fault_bench
		die "the $which kernel's run failed; console: $dir/$which/$config/console.log"
	}
done

csv=$dir/bench.csv
rc=0
awk -v csv="$csv" '
	function row(name, was, is,   r) {
		r = was ? sprintf("%.4f", is / was) : ""
		printf "%-34s %10s %10s %8s\n", name, was, is, r
		printf "%s,%s,%s,%s\n", name, was, is, r >csv
	}
	function check(what, ok) {
		if (!ok) {
			print "FAILED: " what
			bad = 1
		}
	}
	NR == FNR { old[$1] = $2; next }
	{ new[$1] = $2 }
	END {
		print "name,unpatched,patched,ratio" >csv
		printf "%-34s %10s %10s %8s\n", "instructions for a stage-2 fault", \
			"unpatched", "patched", "ratio"
		row("anon", old["anon"], new["anon"])
		row("pfnmap", old["pfnmap"], new["pfnmap"])
		row("flagged", old["pfnmap"], new["flagged"])
		print "(flagged: against the unpatched kernel on the same memory without the flag)"
		print ""
		printf "%-34s %10s %10s\n", "faults to fill 1 GiB", "", "patched"
		row("faults_1g_4k", "", new["faults_1g_4k"])
		row("faults_1g_2m", "", new["faults_1g_2m"])
		print ""
		check("counts of every kind", old["anon"] && old["pfnmap"] && new["anon"] && \
		      new["pfnmap"] && new["flagged"])
		check("anon without the flag costs at most 1.005", new["anon"] <= 1.005 * old["anon"])
		check("pfnmap without the flag costs at most 1.005", new["pfnmap"] <= 1.005 * old["pfnmap"])
		check("flagged costs no more than unpatched pfnmap", new["flagged"] <= old["pfnmap"])
		check("512 faults fill 1 GiB of 2 MiB mappings", new["faults_1g_2m"] == 512)
		exit bad
	}' "$dir/unpatched.counts" "$dir/patched.counts" || rc=1
echo "$csv"
exit $rc

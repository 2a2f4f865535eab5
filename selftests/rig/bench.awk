#!/usr/bin/awk -f
# SPDX-License-Identifier: GPL-2.0
#
# usage: bench.awk <counts of the unpatched kernel> <counts of the patched kernel>
#
# Makes the table of what s2_fault_bench has counted on both. Each row is a name, what
# it is compared with, what it is, the ratio, and the limit of that: the promise. Exits
# with a failure where one is not kept.

# What there is in "was" is compared with "is"; both are names of counts
function row(name, was, is, limit,   r) {
	r = sprintf("%.4f", was ? is / was : 0)
	printf "%-28s %12s %12s %8s %8s\n", name, was, is, r, limit
	if (was == "" || is == "" || was + 0 == 0) {
		print "FAILED: " name " was not counted"
		bad = 1
	} else if (is > limit * was) {
		print "FAILED: " name " is " r ", its limit is " limit
		bad = 1
	}
}

# A count that must be what it is
function count(name, is, want) {
	printf "%-28s %12s %12s\n", name, want, is
	if (is == "" || is != want) {
		print "FAILED: " name " is " is ", must be " want
		bad = 1
	}
}

# A line of 50 is the system heap's count
function bar(name, was, huge, any,   i, line, h, a) {
	h = was > 0 ? int(50 * huge / was + 0.5) : 0
	a = was > 0 ? int(50 * any / was + 0.5) : 0
	for (i = 1; i <= 60 && (i <= h || i <= a); i++)
		line = line (i <= h ? "#" : "+")
	printf "%-8s |%-50s|\n", name, line
}

function head(title, was, is) {
	printf "%s# %s: %s, %s, ratio, limit\n", n++ ? "\n" : "", title, was, is
}

NR == FNR { old[$1] = $2; next }
{ new[$1] = $2 }

END {
	head("instructions of a stage-2 fault", "unpatched", "patched")
	split("read_anon write_anon permission_anon read_pfnmap write_pfnmap " \
	      "permission_pfnmap read_pfnmap_2m write_pfnmap_2m read_hugetlb " \
	      "write_hugetlb permission_hugetlb read_pfnmap_small " \
	      "write_pfnmap_small", same, " ")
	for (i = 1; i in same; i++)
		row(same[i], old[same[i]], new[same[i]], "1.005")

	head("instructions of a fault in a flagged slot", "unpatched without the flag", "patched")
	row("read_flagged", old["read_pfnmap"], new["read_flagged"], "1.000")
	row("write_flagged", old["write_pfnmap"], new["write_flagged"], "1.000")
	row("read_flagged_2m", old["read_pfnmap_2m"], new["read_flagged_2m"], "1.000")
	row("write_flagged_2m", old["write_pfnmap_2m"], new["write_flagged_2m"], "1.000")

	head("exits to fill 1 GiB of a flagged slot", "expected", "patched")
	count("exits_1g_4k", new["exits_1g_4k"], 262144)
	count("exits_1g_2m", new["exits_1g_2m"], 512)
	count("exits_1g_4k_populated", new["exits_1g_4k_populated"], 0)
	count("exits_1g_2m_populated", new["exits_1g_2m_populated"], 0)

	head("instructions to populate 1 GiB of it", "by faults", "by KVM_PRE_FAULT_MEMORY")
	row("populate_1g_2m", 512 * new["write_flagged_2m"], new["populate_1g_2m"], "0.600")
	row("populate_1g_4k", 262144 * new["write_flagged"], new["populate_1g_4k"], "1.000")

	head("instructions of a memslot", "plain", "flagged, of the same memory")
	split("1 16 256 4096 16384", sizes, " ")
	for (i = 1; i in sizes; i++) {
		m = sizes[i] "M"
		row("create_" m, new["create_" m "_pfnmap"], new["create_" m "_flagged"], "1.050")
		row("delete_" m, new["delete_" m "_pfnmap"], new["delete_" m "_flagged"], "1.050")
	}
	head("instructions to log a memslot", "plain, of anonymous memory", "flagged")
	for (i = 1; i in sizes; i++) {
		m = sizes[i] "M"
		row("log_on_" m, new["log_on_" m "_anon"], new["log_on_" m "_flagged"], "1.050")
		row("log_off_" m, new["log_off_" m "_anon"], new["log_off_" m "_flagged"], "1.050")
	}

	head("instructions of a buffer, mapped and written to", "system heap", "carve-out")
	split("4K 8K 16K 32K 64K 128K 256K 512K 1M 2M 4M 16M 64M 256M 1G", bytes, " ")
	# 250 instructions are the accounting by the dmem controller. The system heap's own count
	# is another by a thousandth when something else in the kernel or the test has moved.
	for (i = 1; i in bytes; i++)
		row("buffer_" bytes[i], new["system_" bytes[i]], new["carveout_" bytes[i]], "1.001")
	head("the same where no huge entry fits", "system heap", "carve-out")
	for (i = 1; i in bytes; i++)
		row("buffer_any_" bytes[i], new["system_" bytes[i]], new["carveout_any_" bytes[i]], "1.001")
	print "\n# the carve-out as a part of the system heap: # where huge entries fit, + where not"
	for (i = 1; i in bytes; i++)
		bar(bytes[i], new["system_" bytes[i]], new["carveout_" bytes[i]],
		    new["carveout_any_" bytes[i]])
	head("instructions to zero 2 MiB", "clear_page()", "carve-out")
	row("zero_2m", new["clear_2m"], new["zero_2m"], "1.050")
	head("to scrub a buffer of 1 GiB, cleaning of caches included", "bytes", "instructions")
	row("scrub_1g", new["scrub_bytes"], new["scrub_all"], "0.160")
	exit bad
}

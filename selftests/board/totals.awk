# SPDX-License-Identifier: GPL-2.0
#
# Counts what run_kselftest.sh printed: the results that programs gave, or of those that
# give none the program's own. Prints what failed, why how many were skipped, and, last,
# "N passed, N failed, N skipped".

function skip(why) {
	if (why == "")
		why = "no reason given"
	skipped++
	reasons[why]++
}
function fail(what) {
	failed++
	print "failed: " what
}

/^# selftests: / {
	program = substr($0, 14)
	n = bad = 0
	why = last = ""
	next
}

/^# / && program != "" {
	line = substr($0, 3)
	if (line ~ /^1\.\.0 # SKIP/) {
		why = substr(line, 13)
	} else if (line ~ /^(not )?ok [0-9]+/) {
		n++
		if (line ~ /^not /) {
			bad++
			sub(/^not ok [0-9]+ *(- )?/, "", line)
			fail(program ": " line)
		} else if (match(line, /# *SKIP */)) {
			skip(substr(line, RSTART + RLENGTH))
		} else {
			passed++
		}
	} else if (line ~ /[^ ]/ && line !~ /^timeout set to/) {
		# One who says that it skips has said why
		if (last !~ /[Ss]kipping/)
			last = line
	}
	next
}

/^(not )?ok [0-9]+ selftests: / {
	if (/^not /) {
		if (!bad) {
			sub(/^not ok [0-9]+ selftests: /, "")
			fail($0 (n ? "" : ": " last))
		}
	} else if (!n) {
		if (/# SKIP/)
			skip(why != "" ? why : last)
		else
			passed++
	}
	program = ""
	programs++
}

END {
	if (program != "")
		fail(program ": did not end")
	if (!programs)
		fail("no test ran")
	for (why in reasons)
		printf "%5d skipped: %s\n", reasons[why], why | "sort -rn"
	close("sort -rn")
	printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
}

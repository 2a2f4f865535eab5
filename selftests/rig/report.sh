#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: report.sh boot <configuration> <directory>
#	 report.sh log <configuration> <console>
#	 report.sh judge <results>
#	 report.sh summary <results>
#
# The verdict, on the host and last. "boot" prints the results of one boot: what
# its tests said, then what the kernel log and the way it ended say. "log" prints
# that of another kernel's log, a guest's. "judge" compares results with
# selftests/expected; "summary" does so with all of them, prints a table by
# configuration and, as its last line, "N passed, N failed, N skipped".

. "$(dirname "$0")/lib.sh"

# A line of the kernel log that no run may have. Kernel lines have a time stamp;
# a test's own output never reaches the console.
BAD='BUG:|WARNING:|Oops|Call trace|Call Trace|Kernel panic|INFO: (task|rcu|possible)|possible recursive locking|circular locking|inconsistent lock|suspicious RCU|sleeping function called|KASAN|UBSAN|unreferenced object|hung_task|soft lockup|Internal error|HYP panic|nVHE hyp panic'

# Each report in the log is charged to the test that ran at the time. An allocation that
# such a test has made fail is said with a stack; a board's run has them all. One report
# of lockdep's is excused: vfio-pci resets a device in a hot-plug slot, and has VFs probed,
# under the lock of a device set, and pciehp and the PCI core have their locks around these
# in either order (https://github.com/spdk/spdk/issues/1275 is somebody's deadlock of that
# kind). That is the base kernel by itself. So is a race that KCSAN sees where tracepoints
# are read: the ring buffer reads a pointer plainly, to know whom to wake.
log() {
	tr -d '\r' <"$2" | awk -v bad="$BAD" '
		function charge(what) {
			if (!(test in seen))
				printf "fail\t%s/kernel-log/%s\t%s\n", config, test == "" ? "boot" : test, what
			seen[test] = n = 1
			report = ""
		}
		/(^| )rig: / { test = $NF; excused = 0 }
		/possible circular locking/ { report = $0; locks = ""; next }
		report != "" && / at: / {
			match($0, /\([^)]*\)/)
			locks = locks substr($0, RSTART, RLENGTH)
		}
		report != "" && /existing dependency chain/ {
			if (test == "vfio_removal" &&
			    locks == "(pci_rescan_remove_lock)(&ctrl->reset_lock)")
				excused = 1
			else
				charge(report)
			report = ""
		}
		/KCSAN: data-race in __rb_get_reader_page \/ ring_buffer_unlock_commit$/ { next }
		test ~ /_enomem|^board_run/ && /: vmalloc error: / { excused = 1 }
		excused && /Call trace/ { excused = 0; next }
		$0 ~ bad { charge($0) }
		END {
			if (report != "")
				charge(report)
			if (!n)
				printf "pass\t%s/kernel-log\t\n", config
		}
	' config="$1"
}

boot() {
	config=$1 dir=$2
	touch "$dir/port.log" "$dir/console.log"
	awk -v config="$config" -f "$RIG/report.awk" "$dir/port.log"
	log "$config" "$dir/console.log"

	leak=$(awk '/^KMEMLEAK/ { k = 1; next } /^DONE/ { k = 0 } k' "$dir/port.log")
	[ -z "$leak" ] || printf 'fail\t%s/kmemleak\t%s\n' "$config" \
		"$(echo "$leak" | head -n 1)"

	status=$(cat "$dir/qemu.status" 2>/dev/null || echo none)
	if [ "$status" = 0 ] && grep -q 'reboot: Power down' "$dir/console.log"; then
		printf 'pass\t%s/power-off\t\n' "$config"
	else
		case $status in
		124 | 137) why="time limit" ;;
		*) why="QEMU ended with status $status" ;;
		esac
		printf 'fail\t%s/power-off\t%s\n' "$config" "no clean power-off: $why"
	fi
}

# judge: results in, judged results out
judge() {
	awk -F '\t' -v expected="$TOP/selftests/expected" '
	function re(glob) {
		gsub(/[.+(){}^$|\\]/, "\\\\&", glob)
		gsub(/\*/, ".*", glob)
		gsub(/\?/, ".", glob)
		return "^" glob "$"
	}
	BEGIN {
		OFS = "\t"
		while ((getline line < expected) > 0) {
			if (line ~ /^(#|[ \t]*$)/)
				continue
			split(line, f, /[ \t]+/)
			config[++m] = re(f[1])
			test[m] = re(f[2])
			what[m] = f[3]
		}
	}
	{
		c = t = $2
		sub(/\/.*/, "", c)
		sub(/^[^\/]*\//, "", t)
		want = "pass"
		for (i = 1; i <= m && want == "pass"; i++)
			if (c ~ config[i] && t ~ test[i])
				want = what[i]
		if ($1 == "fail" && want == "fail") {
			$1 = "skip"
			$3 = "known to fail: " $3
		} else if ($1 == "skip" && want != "skip") {
			$1 = "fail"
			$3 = "unexpected skip: " $3
		} else if ($1 == "pass" && want != "pass") {
			$1 = "fail"
			$3 = "passed, but selftests/expected says " want
		}
		print
	}' "$1"
}

summary() {
	judge "$1" >"$1.judged"
	nfail=$(grep -c '^fail' "$1.judged" || :)
	if [ "$nfail" -gt 0 ]; then
		echo
		echo "Failed:"
		sed -n 's/^fail\t\([^\t]*\)\t/  \1: /p' "$1.judged" | sed 's/: $//'
	fi
	# What the failing tests of a boot printed last
	sed -n 's/^fail\t\([^/]*\)\/\([^/\t]*\).*/\1 \2/p' "$1.judged" | sort -u |
		head -n 12 | while read -r c t; do
		port=$LOGS/boot/$c/port.log
		[ -f "$port" ] || continue
		echo
		echo "== $c/$t; console: $LOGS/boot/$c/console.log"
		case $t in
		power-off | boot) tail -n 15 "$LOGS/boot/$c/console.log" ;;
		*) output_of "$port" "$t" | tail -n 15 ;;
		esac
	done
	awk -F '\t' '
	{
		c = $2
		sub(/\/.*/, "", c)
		if (!seen[c]++)
			order[++n] = c
		count[c, $1]++
		total[$1]++
	}
	END {
		printf "\n%-18s %8s %8s %8s\n", "configuration", "passed", "failed", "skipped"
		for (i = 1; i <= n; i++)
			printf "%-18s %8d %8d %8d\n", order[i], count[order[i], "pass"],
				count[order[i], "fail"], count[order[i], "skip"]
		if (!NR) {
			print "no test ran"
			total["fail"]++
		}
		printf "\n%d passed, %d failed, %d skipped\n",
			total["pass"], total["fail"], total["skip"]
		exit total["fail"] > 0
	}' "$1.judged"
}

case $1 in
boot) boot "$2" "$3" ;;
log) log "$2" "$3" ;;
judge) judge "$2" ;;
summary) summary "$2" ;;
*) die "boot, log, judge or summary?" ;;
esac

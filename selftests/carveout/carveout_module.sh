#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2317	# most is called through result()
#
# usage: carveout_module.sh params <free base> [<RAM base>]
#	 carveout_module.sh reserved <base>...
#	 carveout_module.sh dt
#	 carveout_module.sh busy
#	 carveout_module.sh rounds <n> [parameters]
#
# Loading, probing and unloading of carveout_heap.ko, as KTAP:
#
# params  pools= of every kind, good and bad, in 64 MiB of memory from <free base>
#	  on that the kernel was told to leave alone; nothing is loaded before or after
# reserved  pools= does not take what the device tree reserves, for the module or
#	  for others; nothing is loaded before or after
# dt	  what became of the devices of the device tree: carveout-heap-good-*, -bad-*
#	  and -pair-*-1 and -2, one of which is good; the module is loaded
# busy	  the module is loaded with a pool: it refuses to go while a buffer lives
# rounds  n times load and unload

ko=${CARVEOUT_KO:-/modules/carveout_heap.ko}
heaps=/dev/dma_heap
n=0 failed=0

ok() {
	n=$((n + 1))
	echo "ok $n $1"
}
not_ok() {
	n=$((n + 1)) failed=1
	echo "not ok $n $1"
	[ -z "${2:-}" ] || echo "# $2"
}
# result NAME COMMAND...
result() {
	r_name=$1
	shift
	if "$@"; then ok "$r_name"; else not_ok "$r_name" "$why"; fi
	why=
}
loaded() { grep -q '^carveout_heap ' /proc/modules; }
pools() {
	for p in "$heaps"/carveout-*; do
		[ -e "$p" ] && echo "${p#"$heaps"/carveout-}"
	done | sort | tr '\n' ' '
}
# The errors that the kernel spoke of since MARK, which is put into its log as well
mark() {
	mark="carveout-test-$n-$(cut -d' ' -f1 /proc/uptime)"
	echo "$mark" >/dev/kmsg
}
# Once where insmod has tried by two system calls
said() {
	dmesg -r | awk -v m="$mark" '
		index($0, m) { p = 1; next }
		!p || !/^<3>/ || !/carveout/ { next }
		{
			sub(/^<3>(\[[ 0-9.]*\] )?/, "")
			if (!seen[$0]++)
				print
		}'
}

# good PARAMETER NAMES: it loads, and these pools are there
good() {
	insmod "$ko" pools="$1" 2>/dev/null || {
		why="pools=$1 was refused: $(dmesg | tail -n 1)"
		return 1
	}
	got=$(pools)
	for p in $got; do
		total=$(cat "/sys/class/misc/carveout-$p/total_bytes")
		free=$(cat "/sys/class/misc/carveout-$p/free_bytes")
		[ "$total" = "$free" ] && [ "$total" -gt 0 ] || got="$got ($p: $free of $total)"
	done
	rmmod carveout_heap || {
		why="does not unload"
		return 1
	}
	[ "$got" = "$2 " ] || {
		why="pools '$got', expected '$2'"
		return 1
	}
	[ -z "$(pools)" ] || {
		why="nodes left: $(pools)"
		return 1
	}
}

# bad PARAMETER [TEXT]: no such pool, and one line that says why, with TEXT in it
bad() {
	mark
	if insmod "$ko" pools="$1" 2>/dev/null; then
		got=$(pools)
		rmmod carveout_heap
		why="pools=$1 was accepted: '$got'"
		return 1
	fi
	[ -z "$(pools)" ] || {
		why="nodes left: $(pools)"
		return 1
	}
	said | sed 's/^/# /'
	[ "$(said | wc -l)" = 1 ] || {
		why="pools=$1: $(said | wc -l) lines in the log, expected one"
		return 1
	}
	[ -z "${2:-}" ] || said | grep -qi -e "$2" || {
		why="pools=$1: '$(said)' says nothing of $2"
		return 1
	}
}

# What was in the memory before is not in the pool, and while there is a pool
# /dev/mem has no way to it (arm64 lets it have what is not RAM for the kernel)
taken_over() {
	address=$(printf '0x%x' "$base")
	devmem "$address" 64 0x5ca1ab1e || {
		why="devmem cannot write"
		return 1
	}
	insmod "$ko" pools="t0:2M@$address" || return 1
	seen=$(devmem "$address" 64 2>/dev/null)
	rmmod carveout_heap
	[ -z "$seen" ] || {
		why="/dev/mem maps a pool, and sees $seen"
		return 1
	}
	seen=$(devmem "$address" 64)
	[ "$seen" = 0x0000000000000000 ] || {
		why="$seen is left of what was there before"
		return 1
	}
}

params() {
	at() { printf '0x%x' $((base + $1)); }
	base=$(($1)) ram=${2:-}
	result one_pool good "t0:8M@$(at 0)" t0
	result two_pools good "t1:8M@$(at 0),t2:4M@$(at 0x800000)" "t1 t2"
	result one_page good "t0:4K@$(at 0)" t0
	result hex_size good "t0:0x200000@$(at 0x200000)" t0
	# Debian has /dev/mem; the rig's own configuration has not
	[ ! -e /dev/mem ] || result taken_over taken_over
	result size_zero bad "t0:0@$(at 0)"
	result base_unaligned bad "t0:2M@$(at 0x800)"
	result size_unaligned bad "t0:0x1800@$(at 0)"
	result size_wraps bad "t0:0xFFFFFFFFFFFF0000@$(at 0)"
	result base_wraps bad "t0:2M@0xFFFFFFFFFFE00000"
	result beyond_physical bad "t0:2M@0x100000000000000"
	result base_zero bad "t0:2M@0"
	result overlap_second bad "t0:4M@$(at 0),t1:4M@$(at 0x200000)"
	result overlap_same bad "t0:4M@$(at 0),t1:4M@$(at 0)"
	result same_name bad "t0:2M@$(at 0),t0:2M@$(at 0x400000)"
	result no_name bad ":2M@$(at 0)"
	result slash_in_name bad "a/b:2M@$(at 0)"
	result dots_in_name bad "..:2M@$(at 0)"
	result no_base bad "t0:2M"
	result empty_base bad "t0:2M@"
	result no_size bad "t0:@$(at 0)"
	result no_number bad "t0:xyz@$(at 0)"
	result trailing_text bad "t0:2M@$(at 0)xyz"
	# a Device: the UART, and the PCI window
	result uart bad "t0:4K@0x9000000" 0*9000000
	if [ -n "$ram" ]; then
		ram=$((ram))
		result ram bad "t0:2M@$(printf '0x%x' "$ram")" "$(printf %x "$ram")"
		# Its last page is not to be had, and the others are not taken
		result reaches_ram bad "t0:4M@$(printf '0x%x' $((ram - 0x3ff000)))"
	fi
	# Nothing of all that is left
	result good_again good "t0:64M@$(at 0)" t0
}

reserved() {
	for r; do
		result "reserved_$r" bad "t0:2M@$r"
	done
}

# refused DEVICE: not bound, and one line that says why
refused() {
	[ ! -e "/sys/bus/platform/devices/$1/driver" ] || {
		why="$1 is bound"
		return 1
	}
	lines=$(dmesg | grep "carveout.*$1")
	echo "$lines" | sed 's/^/# /'
	[ "$(echo "$lines" | grep -c .)" = 1 ] || {
		why="$1: not one line in the log"
		return 1
	}
}
bound() {
	why="$1 is not bound: $(dmesg | grep "$1")"
	[ -e "/sys/bus/platform/devices/$1/driver" ]
}
one_of_two() {
	if [ -e "/sys/bus/platform/devices/$1/driver" ]; then
		refused "$2"
	else
		refused "$1" && bound "$2"
	fi
}

dt() {
	for d in /sys/bus/platform/devices/carveout-heap-*; do
		name=${d##*/}
		case $name in
		*-bad-*) result "$name" refused "$name" ;;
		*-pair-*-1) result "${name%-1}" one_of_two "$name" "${name%1}2" ;;
		*-pair-*-2) ;;
		*) result "$name" bound "$name" ;;
		esac
	done
	[ "$n" -gt 0 ] || not_ok devices "there is none"

	# By what name udev would load the module: of:N<name>T<type>C<compatible>
	d=$(echo /sys/bus/platform/devices/carveout-heap-* | cut -d' ' -f1)
	case $(cat "$d/modalias") in
	of:N*T*Clinux,carveout-heap)
		if grep -q 'alias=of:N\*T\*Clinux,carveout-heap' "$ko"; then
			ok alias
		else
			not_ok alias "the module has no alias for $(cat "$d/modalias")"
		fi
		;;
	*)
		not_ok alias "$(cat "$d/modalias")"
		;;
	esac
	# Only what is bound has a node
	want=$(for d in /sys/bus/platform/devices/carveout-heap-*; do
		[ ! -e "$d/driver" ] || echo x
	done | wc -l)
	got=$(pools | wc -w)
	if [ "$got" = "$want" ]; then ok nodes; else not_ok nodes "$(pools)"; fi
}

busy() {
	p=$(pools)
	[ -n "$p" ] || {
		not_ok pool "there is none"
		return
	}
	node=$heaps/carveout-${p%% *}
	# An open node, and no buffer
	exec 7<"$node"
	if rmmod carveout_heap 2>/dev/null; then not_ok open_node "went"; else ok open_node; fi
	exec 7<&-
	# carveout_hold keeps a buffer and nothing else open until its input ends
	mkfifo /tmp/hold.in /tmp/hold.out
	"${0%/*}/carveout_hold" "$node" </tmp/hold.in >/tmp/hold.out &
	pid=$!
	exec 8>/tmp/hold.in 9</tmp/hold.out
	for what in descriptor mapping; do
		read -r state <&9
		[ "$state" = "$what" ] || not_ok "$what" "carveout_hold says $state"
		if rmmod carveout_heap 2>/dev/null; then
			not_ok "$what" "went"
		else
			ok "$what"
		fi
		echo next >&8
	done
	exec 8>&-
	wait "$pid"
	exec 9<&-
	rm -f /tmp/hold.in /tmp/hold.out
	used=$(awk '$1 == "carveout_heap" { print $3 }' /proc/modules)
	if [ "$used" = 0 ]; then ok unused; else not_ok unused "use count $used"; fi
}

# With the pages of 4 KiB that each CPU keeps on its lists
free_kib() {
	awk '$1 == "MemFree:" { kib += $2 } $1 == "count:" { kib += 4 * $2 } END { print kib }' \
		/proc/meminfo /proc/zoneinfo
}

# In batches, of which the best is judged: a leak is in every one of them.
rounds() {
	rounds=$1 batch=$(($1 / 5)) all=0 least=
	shift
	# What is allocated once is not what is looked for
	insmod "$ko" "$@" && rmmod carveout_heap
	while [ "$all" -lt "$rounds" ]; do
		free=$(free_kib)
		i=0
		while [ "$i" -lt "$batch" ]; do
			insmod "$ko" "$@" || break 2
			rmmod carveout_heap || break 2
			i=$((i + 1)) all=$((all + 1))
		done
		lost=$((free - $(free_kib)))
		echo "# $batch rounds: $lost KiB less free"
		if [ "$lost" -lt "${least:=$lost}" ]; then least=$lost; fi
	done
	if [ "$all" -ge "$rounds" ]; then ok "rounds_$rounds"; else not_ok "rounds_$rounds" "stopped at $all"; fi
	# Half a page for each
	if [ "${least:-0}" -lt $((batch * 2)) ]; then
		ok memory
	else
		not_ok memory "$least KiB or more are gone after every $batch rounds"
	fi
}

echo "TAP version 13"
mode=$1
shift
case $mode in
params | reserved | rounds)
	! loaded || {
		echo "1..0 # SKIP carveout_heap is loaded"
		exit 4
	}
	;;
dt | busy)
	loaded || {
		echo "1..0 # SKIP carveout_heap is not loaded"
		exit 4
	}
	;;
*)
	echo "Bail out! params, reserved, dt, busy or rounds?"
	exit 1
	;;
esac
case $mode in
params) params "$@" ;;
reserved) reserved "$@" ;;
dt) dt ;;
busy) busy ;;
rounds) rounds "$@" ;;
esac
echo "1..$n"
exit "$failed"

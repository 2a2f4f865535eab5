#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2317	# most is called through result()
#
# usage: carveout_module.sh params <free> <RAM> [<alias>]
#	 carveout_module.sh reserved <base>...
#	 carveout_module.sh loader | fdt | dt | busy | kdump | hibernate
#	 carveout_module.sh memreserve <base>
#	 carveout_module.sh rounds <n> [parameters]
#
# Loading, probing and unloading of carveout_heap.ko, as KTAP:
#
# params  pools= of every kind, good and bad, in 64 MiB of memory from <free> on
#	  that the kernel was told to leave alone, at <RAM> of the kernel, and 4 MiB
#	  before <alias>, where memtype_test has made a linear map of free memory
# reserved  pools= does not take what the device tree reserves at each <base>, for
#	  the module or for others
# loader  pools= does not take what the EFI stub has left for the kernel
# fdt	  pools= does not take the device tree that the kernel was booted with, which
#	  the loader has put behind the initrd and mem= has cut off
# dt	  what became of the devices of the device tree: carveout-heap-good-*, -bad-*
#	  and -pair-*-1 and -2, one of which is good; the module is loaded
# kdump	  a kdump kernel has no pools, neither of devices nor of the parameter
# memreserve  pools= does not take the 2 MiB at <base>, which a /memreserve/ of the device
#	  tree has, but takes what comes behind them
# hibernate  the module is loaded with pools: no hibernation while a buffer lives; what
#	  was free is scrubbed after one; no device is bound meanwhile
# busy	  the module is loaded with a pool: it refuses to go while a buffer lives
# rounds  n times load and unload

ko=${CARVEOUT_KO:-/modules/carveout_heap.ko}
heaps=/dev/dma_heap
# KiB that a page has
page=$(awk '$1 == "KernelPageSize:" { print $2; exit }' /proc/self/smaps)
# Of the kernel's selftests and of ours; the Makefile puts them beside this one
. "$(dirname "$0")/ktap_helpers.sh"
. "$(dirname "$0")/ktap.sh"

# result NAME COMMAND...
result() {
	r_name=$1
	shift
	if "$@"; then ktap_test_pass "$r_name"; else not_ok "$r_name" "$why"; fi
	why=
}
# settle POOL: until nothing of it is left to scrub; a new pool is scrubbed whole
settle() {
	s_left=600
	while [ "$(cat "/sys/class/misc/carveout-$1/scrubbing_bytes" 2>/dev/null)" -gt 0 ] 2>/dev/null; do
		[ "$s_left" -gt 0 ] || return 1
		s_left=$((s_left - 1))
		usleep 100000
	done
}
loaded() { grep -q '^carveout_heap ' /proc/modules; }
pools() {
	for p in "$heaps"/carveout-*; do
		[ -e "$p" ] && echo "${p#"$heaps"/carveout-}"
	done | sort | tr '\n' ' '
}
# The errors that the kernel spoke of since MARK, which is put into its log as well
mark() {
	mark="carveout-test-$KTAP_TESTNO-$(cut -d' ' -f1 /proc/uptime)"
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
		settle "$p"
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

# bad PARAMETER TEXT: no such pool, and one line that says why, with TEXT in it
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
	said | grep -q -e "$2" || {
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
	settle t0
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
	base=$(($1))
	result one_pool good "t0:8M@$(at 0)" t0
	result two_pools good "t1:8M@$(at 0),t2:4M@$(at 0x800000)" "t1 t2"
	result shared_pool good "t0:8M@$(at 0):shared" t0
	result one_page good "t0:${page}K@$(at 0)" t0
	result hex_size good "t0:0x200000@$(at 0x200000)" t0
	# Debian has /dev/mem; the rig's own configuration has not
	[ ! -e /dev/mem ] || result taken_over taken_over
	multiples="must be multiples of"
	physical="reach beyond physical memory"
	result size_zero bad "t0:0@$(at 0)" "$multiples"
	result base_unaligned bad "t0:2M@$(at 0x800)" "$multiples"
	result size_unaligned bad "t0:0x1800@$(at 0)" "$multiples"
	result size_wraps bad "t0:0xFFFFFFFFFFFF0000@$(at 0)" "$physical"
	result base_wraps bad "t0:2M@0xFFFFFFFFFFE00000" "$physical"
	result beyond_physical bad "t0:2M@0x100000000000000" "$physical"
	result base_zero bad "t0:2M@0" "0x0* is not free RAM for the firmware"
	result overlap_second bad "t0:4M@$(at 0),t1:4M@$(at 0x200000)" "\"t1\".* is something else in"
	result overlap_same bad "t0:4M@$(at 0),t1:4M@$(at 0)" "\"t1\".* is something else in"
	result same_name bad "t0:2M@$(at 0),t0:2M@$(at 0x400000)" "a pool of that name"
	letters="a name has up to 47 letters"
	result no_name bad ":2M@$(at 0)" "$letters"
	result slash_in_name bad "a/b:2M@$(at 0)" "$letters"
	result dots_in_name bad "..:2M@$(at 0)" "$letters"
	form="it has to be NAME:SIZE@BASE"
	result no_base bad "t0:2M" "$form"
	result empty_base bad "t0:2M@" "$form"
	result no_size bad "t0:@$(at 0)" "$form"
	result no_number bad "t0:xyz@$(at 0)" "$form"
	result trailing_text bad "t0:2M@$(at 0)xyz" "$form"
	result not_shared bad "t0:2M@$(at 0):share" "$form"
	result uart bad "t0:${page}K@0x9000000" "0x0*9000000 is not free RAM for the firmware"
	result ram bad "t0:2M@$2" "page 0x0*${2#0x} is memory that the kernel maps"
	# Its first pages are free
	[ -z "${3:-}" ] || result alias bad "t0:8M@$(printf '0x%x' $(($3 - 0x400000)))" \
		"page 0x0*${3#0x} is mapped in the linear map"
	# Nothing of all that is left
	result good_again good "t0:64M@$(at 0)" t0
}

reserved() {
	for r; do
		result "reserved_$r" bad "t0:2M@$r" "it overlaps the reserved memory"
	done
}

loader() {
	r=$(dmesg | sed -n 's/.* MEMRESERVE=\(0x[0-9a-f]*\)[0-9a-f]\{3\}\( .*\)\{0,1\}$/\1000/p')
	[ -n "$r" ] || {
		not_ok memreserve "the kernel's log does not say where it is"
		return
	}
	result memreserve bad "t0:${page}K@$r" "0x0*${r#0x} is not free RAM for the firmware"
}

# Where in the 16 MiB that follow the initrd is not to be known
fdt() {
	from=$(hexdump -v -e '1/1 "%02x"' /proc/device-tree/chosen/linux,initrd-end)
	step=0x200000
	from=$(((0x$from + step - 1) / step * step))
	refused=0
	for i in 0 1 2 3 4 5 6 7; do
		at=$(printf '0x%x' $((from + i * step)))
		! bad "t0:2M@$at" "the kernel's device tree is in it" || refused=$((refused + 1))
	done
	if [ "$refused" = 1 ] || [ "$refused" = 2 ]; then
		ktap_test_pass refused
	else
		not_ok refused "$refused ranges have the device tree: $why"
	fi
	if grep -q linux,dummy-virt /proc/device-tree/compatible; then
		ktap_test_pass intact
	else
		not_ok intact "the device tree is not what it was"
	fi
}

# refused DEVICE TEXT: not bound, and one line that says why, with TEXT in it
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
	echo "$lines" | grep -q -e "$2" || {
		why="$1: '$lines' says nothing of $2"
		return 1
	}
}
bound() {
	why="$1 is not bound: $(dmesg | grep "$1")"
	[ -e "/sys/bus/platform/devices/$1/driver" ]
}
one_of_two() {
	if [ -e "/sys/bus/platform/devices/$1/driver" ]; then
		refused "$2" "$3"
	else
		refused "$1" "$3" && bound "$2"
	fi
}
# reason DEVICE: why a device is refused
reason() {
	case $1 in
	*-dynamic) echo "has no reg with an address and a size" ;;
	*-empty) echo "was not reserved as it says" ;;
	*-mapped) echo "is not no-map" ;;
	*-no-region) echo "no memory-region" ;;
	*-not-ours) echo "is not compatible with linux,carveout-heap-pool" ;;
	*-odd-size | *-unaligned) echo "must be multiples of" ;;
	*-label-[12]) echo "there is a pool of that name" ;;
	*-same-[12]) echo "is in use, see /proc/iomem" ;;
	*-overlap-1) echo "it overlaps the reserved memory overlap, .mem 0xdc200000-" ;;
	*-overlap-2) echo "it overlaps the reserved memory overlap, .mem 0xdc000000-" ;;
	*-over-firmware) echo "it overlaps the reserved memory firmware, .mem 0xd2000000-" ;;
	*-over-memreserve) echo "it overlaps a /memreserve/" ;;
	*-absent) echo "0x0*300000000 is not RAM for the firmware" ;;
	*) echo "no reason is known for $1" ;;
	esac
}

dt() {
	for d in /sys/bus/platform/devices/carveout-heap-*; do
		name=${d##*/}
		case $name in
		*-bad-*) result "$name" refused "$name" "$(reason "$name")" ;;
		*-pair-*-1) result "${name%-1}" one_of_two "$name" "${name%1}2" "$(reason "$name")" ;;
		*-pair-*-2) ;;
		*) result "$name" bound "$name" ;;
		esac
	done
	[ "$KTAP_TESTNO" -gt 1 ] || not_ok devices "there is none"

	# By what name udev would load the module: of:N<name>T<type>C<compatible>
	d=$(echo /sys/bus/platform/devices/carveout-heap-* | cut -d' ' -f1)
	case $(cat "$d/modalias") in
	of:N*T*Clinux,carveout-heap)
		if grep -q 'alias=of:N\*T\*Clinux,carveout-heap' "$ko"; then
			ktap_test_pass alias
		else
			not_ok alias "the module has no alias for $(cat "$d/modalias")"
		fi
		;;
	*)
		not_ok alias "$(cat "$d/modalias")"
		;;
	esac
	# One that is large says how far it is with being prepared
	if [ -e /sys/class/misc/carveout-large ]; then
		settle large
		n=$(dmesg | grep -c 'carveout-large: [0-9]* of 4096 MiB are ready')
		is progress "$n lines" "8 lines"
	fi
	# Only what is bound has a node
	want=$(for d in /sys/bus/platform/devices/carveout-heap-*; do
		[ ! -e "$d/driver" ] || echo x
	done | wc -l)
	got=$(pools | wc -w)
	if [ "$got" = "$want" ]; then ktap_test_pass nodes; else not_ok nodes "$(pools)"; fi
}

# carveout_hold keeps a buffer and nothing else open until its input ends
hold_start() {
	mkfifo /tmp/hold.in /tmp/hold.out
	"${0%/*}/carveout_hold" "$1" </tmp/hold.in >/tmp/hold.out &
	hold_pid=$!
	exec 8>/tmp/hold.in 9</tmp/hold.out
	read -r hold_state <&9
}
hold_next() {
	echo next >&8
	read -r hold_state <&9
}
hold_end() {
	exec 8>&-
	wait "$hold_pid"
	exec 9<&-
	rm -f /tmp/hold.in /tmp/hold.out
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
	if rmmod carveout_heap 2>/dev/null; then not_ok open_node "went"; else ktap_test_pass open_node; fi
	exec 7<&-
	hold_start "$node"
	for what in descriptor mapping; do
		[ "$hold_state" = "$what" ] || not_ok "$what" "carveout_hold says $hold_state"
		if rmmod carveout_heap 2>/dev/null; then
			not_ok "$what" "went"
		else
			ktap_test_pass "$what"
		fi
		hold_next
	done
	hold_end
	used=$(awk '$1 == "carveout_heap" { print $3 }' /proc/modules)
	is unused "use count $used" "use count 0"
}

kdump() {
	insmod "$ko" || not_ok load "without pools= it loads"
	for d in /sys/bus/platform/devices/carveout-heap-*; do
		result "${d##*/}" refused "${d##*/}" "this is a kdump kernel"
	done
	[ "$KTAP_TESTNO" -gt 1 ] || not_ok devices "there is none"
	is pools "$(pools)" ""
	rmmod carveout_heap
	result parameter bad "t0:2M@0x130000000" "this is a kdump kernel"
}

memreserve() {
	result reserved bad "t0:2M@$1" "it overlaps a /memreserve/"
	result overlap bad "t0:4M@$(printf '0x%x' $(($1 - 0x200000)))" "it overlaps a /memreserve/"
	result behind good "t0:2M@$(printf '0x%x' $(($1 + 0x200000)))" t0
}

# scrubbed POOL: how much of it has been since tracing was begun
scrubbed() {
	awk -v p="pool=$1" '
		/: carveout_scrub: / && $0 ~ p " " {
			sub(/.*size=0x/, "")
			for (n = 0; length; $0 = substr($0, 2))
				n = n * 16 + index("0123456789abcdef", substr($0, 1, 1)) - 1
			sum += n
		}
		END { print sum + 0 }' /sys/kernel/tracing/trace
}
# With pm_test all is done but the freezing of devices and what comes after it
to_disk() { echo disk 2>/dev/null >/sys/power/state; }
hibernate() {
	p=$(pools)
	p=${p%% *}
	total=$(cat "/sys/class/misc/carveout-$p/total_bytes")
	[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
	echo freezer >/sys/power/pm_test || {
		not_ok pm_test "the kernel has none"
		return
	}
	hold_start "$heaps/carveout-$p"
	mark
	if to_disk; then not_ok refused "with a buffer"; else ktap_test_pass refused; fi
	said | sed 's/^/# /'
	is reason "$(said | sed 's/.*\(carveout-[^ ]*\)/\1/')" \
		"carveout-$p: no hibernation while it has buffers, which an image does not have"
	# Nobody waits for ever for what did not happen
	hold_next
	ktap_test_pass goes_on
	hold_next
	hold_end
	settle "$p"
	echo >/sys/kernel/tracing/trace
	echo 1 >/sys/kernel/tracing/events/carveout_heap/enable
	if to_disk; then ktap_test_pass hibernates; else not_ok hibernates "without a buffer"; fi
	settle "$p"
	echo 0 >/sys/kernel/tracing/events/carveout_heap/enable
	is scrubbed "$(scrubbed "$p")" "$total"
	is free "$(cat "/sys/class/misc/carveout-$p/free_bytes")" "$total"
	hold_start "$heaps/carveout-$p"
	ktap_test_pass thawed
	hold_next
	hold_next
	hold_end
	echo none >/sys/power/pm_test

	# Pools are ready for an image, and tasks still run: as long as somebody has this open
	d=$(find /sys/bus/platform/drivers/carveout-heap/ -type l -name 'carveout-heap-*' | head -n 1)
	[ -n "$d" ] || return 0
	echo "${d##*/}" >"${d%/*}/unbind"
	[ -c /dev/snapshot ] || {
		not_ok snapshot "the kernel has no /dev/snapshot"
		return
	}
	mark
	{
		if echo "${d##*/}" >"${d%/*}/bind"; then
			not_ok not_meanwhile "it is bound"
		else
			ktap_test_pass not_meanwhile
		fi
	} </dev/snapshot 2>/dev/null
	said | sed 's/^/# /'
	is because "$(said | sed 's/.*: //')" "the system hibernates"
	echo "${d##*/}" >"${d%/*}/bind"
	result afterwards test -e "$d"
}

# With the pages that each CPU keeps on its lists
free_kib() {
	awk -v page="$page" '$1 == "MemFree:" { kib += $2 } $1 == "count:" { kib += page * $2 }
		END { print kib }' /proc/meminfo /proc/zoneinfo
}

rounds() {
	rounds=$1 i=0
	shift
	# What is allocated once is not what is looked for
	insmod "$ko" "$@" && rmmod carveout_heap
	free=$(free_kib)
	while [ "$i" -lt "$rounds" ] && insmod "$ko" "$@" && rmmod carveout_heap; do
		i=$((i + 1))
	done
	lost=$((free - $(free_kib)))
	if [ "$i" = "$rounds" ]; then ktap_test_pass "rounds_$rounds"; else not_ok "rounds_$rounds" "stopped at $i"; fi
	ktap_print_msg "$lost KiB less free after $i rounds"
	# Half a page for each: others take or free some hundreds of KiB meanwhile. KASAN keeps
	# what is freed, and with it there is kmemleak
	if [ "$lost" -lt $((rounds * page / 2)) ] || grep -q ' kasan_report$' /proc/kallsyms; then
		ktap_test_pass memory
	else
		not_ok memory "$lost KiB are gone after $i rounds"
	fi
}

ktap_print_header
mode=$1
shift
case $mode in
params | reserved | loader | fdt | rounds | kdump | memreserve)
	! loaded || {
		ktap_skip_all "carveout_heap is loaded"
		exit "$KSFT_SKIP"
	}
	;;
dt | busy | hibernate)
	loaded || {
		ktap_skip_all "carveout_heap is not loaded"
		exit "$KSFT_SKIP"
	}
	;;
*)
	ktap_exit_fail_msg "params, reserved, memreserve, loader, fdt, kdump, dt, busy, hibernate or rounds?"
	;;
esac
case $mode in
params) params "$@" ;;
reserved) reserved "$@" ;;
loader) loader ;;
fdt) fdt ;;
dt) dt ;;
busy) busy ;;
kdump) kdump ;;
memreserve) memreserve "$@" ;;
hibernate) hibernate ;;
rounds) rounds "$@" ;;
esac
finish

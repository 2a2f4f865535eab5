#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# usage: board-guest.sh unpack|bad_input|interrupted|run|scrub|state
#
# What board.sh does in the rig's machine with the tarball. It is not told that this is
# the rig: it has one BAR and one pool, as on any board, and memory at HEAP= for
# it, and REST=.

set -u
unset MT_RIG

home=/board/kvm-arm64-memtype-board
BAR=0000:00:02.0:2
POOL=tb:32M@$((HEAP + 0x8000000)),ts:8M@$((HEAP + 0xA000000)):shared
RAM=$REST
# Not a board's numbers, on an emulated CPU; with fewer rounds s2_blobs is over before its
# vCPUs have run
export MT_ROUNDS=500 MT_OPS=1000 MT_SECONDS=2 MT_REPEAT=3 MT_KB=64 MT_EVICT_KB=1024
export OUT=/tmp/results

[ ! -d "$home" ] || . "$home/kselftest/ktap_helpers.sh"
not_ok() {
	ktap_test_fail "$1"
	ktap_print_msg "$1: $2"
}
finish() {
	ktap_set_plan $((KTAP_TESTNO - 1))
	ktap_finished
}

unpack() {
	# As on any other machine, users may look around
	chmod 755 / /board
	cd /board && tar xzf kvm-arm64-memtype-board.tar.gz && cd "$home" || exit 1
	# What making src would have left there
	for m in carveout_heap dmabuf_importer memtype_test; do
		[ ! -f "/modules/$m.ko" ] || cp "/modules/$m.ko" src/
	done
	# Debian's kernel finds one that is another's
	[ -f src/memtype_test.ko ] || cp /board/memtype_test.ko src/
	# Where the runner looks for coreutils' own
	ln -s /bin/busybox /bin/timeout
	rm /usr/bin/timeout
	# udev's, elsewhere
	ln -s /proc/self/fd /dev/fd
	ln -s fd/1 /dev/stdout
}

# All that a run may have changed
state() {
	for d in /sys/bus/pci/devices/*; do
		echo "${d##*/} driver $(readlink "$d/driver") override $(cat "$d/driver_override") enable $(cat "$d/enable")"
	done
	echo "modules $(cut -d ' ' -f 1 /proc/modules | sort | tr '\n' ' ')"
	for f in /proc/sys/vm/nr_hugepages /sys/kernel/mm/transparent_hugepage/enabled \
		/sys/kernel/mm/transparent_hugepage/hugepages-*/enabled \
		/sys/module/vfio/parameters/* /sys/module/vfio_pci*/parameters/* \
		/sys/kernel/mm/hugepages/*/nr_hugepages /sys/kernel/tracing/tracing_on \
		/sys/kernel/tracing/kprobe_events /sys/kernel/debug/failslab/* \
		/sys/kernel/debug/fail_page_alloc/* /proc/sys/kernel/printk_ratelimit \
		/sys/fs/cgroup/cgroup.subtree_control; do
		[ ! -f "$f" ] || echo "$f $(cat "$f")"
	done
	sort /proc/mounts
	ls /dev/dma_heap 2>/dev/null
	# Nothing runs on
	cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^run_kselftest\|^vfio_\|^s2_\|^carveout_' || :
}
same_state() {
	state >/tmp/after
	if diff /tmp/before /tmp/after >/tmp/diff; then
		ktap_test_pass "$1"
	else
		not_ok "$1" "$(sed -n 's/^[-+<>]/&/p' /tmp/diff | grep -v '^--- \|^+++ ' | head -n 6 | tr '\n' ';')"
	fi
}

# says NAME STATUS WORDS COMMAND...: it ends with that status, and says so
says() {
	s_name=$1 s_want=$2 s_words=$3
	shift 3
	"$@" >/tmp/said 2>&1 </dev/null
	s_rc=$?
	if [ $s_rc = "$s_want" ] && grep -q -- "$s_words" /tmp/said; then
		ktap_test_pass "$s_name"
	else
		not_ok "$s_name" "status $s_rc: $(tail -n 4 /tmp/said | tr '\n' ';')"
	fi
}
# One test that any machine has, so that it is about what comes before the tests
one='-t carveout:carveout_large'

bad_input() {
	cd "$home" || exit 1
	state >/tmp/before
	# busybox's own
	ln -sf /bin/busybox /usr/bin/timeout
	says timeout 4 'does not know --foreground' ./run
	rm /usr/bin/timeout
	chmod 777 /tmp
	mkdir -p /etc
	echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd
	says not_root 4 'not root' start-stop-daemon -S -c nobody -x "$home/run"
	says unknown_argument 4 'FOO= is not known' ./run FOO=1
	# shellcheck disable=SC2086	# words
	{
		says bar_malformed 0 'has to be like' ./run BAR=2 $one
		says bar_of_no_device 0 'there is no device 0000:77:00.0' ./run BAR=0000:77:00.0:2 $one
		says bar_without_memory 0 'this BAR has no memory' ./run BAR=0000:00:02.0:5 $one
		says bar_of_a_bridge 0 'it is a bridge' ./run BAR=0000:00:09.0:0 $one
		if [ -d /sys/bus/pci/drivers/virtio-pci ]; then
			says bar_is_busy 0 'is busy, virtio-pci has it' ./run BAR=0000:00:01.0:4 $one
		fi
		says nobody_to_ask 0 'BAR=0000:00:0[0-9].0:[0-9] names one' ./run $one
		says pool_of_no_name 0 'there is no pool xx' ./run POOL=xx $one
		says pool_without_memory 0 'module carveout_heap: ' ./run POOL=xx:1M@0x40000000 $one
		says list 0 'kvm:s2_policy' ./run -l
		says ram_malformed 0 'has to be like' ./run RAM=16M $one
		case $(uname -r) in
		*deb* | *arm64*)
			says other_kernel 0 'a module of another kernel than' ./run "RAM=$RAM" $one
			says no_vfio 0 'has no vfio-pci' ./run BAR=$BAR $one
			says no_series 0 'without the series' ./run $one
			;;
		*)
			says series 0 'in this kernel: 1-pfnmap 2-noncacheable 3-vfio 4-audit' ./run $one
			mv /dev/kvm /dev/not-kvm
			says no_kvm 0 'no /dev/kvm' ./run -t kvm:s2_uapi
			mv /dev/not-kvm /dev/kvm
			mv /dev/iommu /dev/not-iommu
			says no_iommufd 0 'no /dev/iommu' ./run BAR=$BAR -t vfio:vfio_pci_region_memtype_test
			mv /dev/not-iommu /dev/iommu
			;;
		esac
	}
	says no_such_test 1 'no test ran' ./run -t kvm:nothing
	same_state state_after_bad_input
	finish
}

# Ctrl-C in the middle, when a device is bound, modules are loaded and a VM runs
interrupted() {
	cd "$home" || exit 1
	state >/tmp/before
	(
		n=300
		until grep -q "selftests: $collection:" $OUT/ktap 2>/dev/null || [ $n = 0 ]; do
			sleep 1
			n=$((n - 1))
		done
		sleep 4
		cp /proc/modules /tmp/during
		readlink /sys/bus/pci/devices/0000:00:02.0/driver >>/tmp/during
		kill -INT "$(cat /tmp/pid)"
	) &
	# Started from the background, a shell would not hear of it
	sh -c 'echo $$ >/tmp/pid; exec ./run "$@"' sh BAR=$BAR POOL=$POOL "RAM=$RAM" -c $collection \
		>/tmp/said 2>&1 </dev/null
	rc=$?
	if [ $rc = 130 ] && grep -q 'put back' /tmp/said; then
		ktap_test_pass status
	else
		not_ok status "$rc, $(tail -n 3 /tmp/said | tr '\n' ';')"
	fi
	# It was not over before
	if grep -q carveout_heap /tmp/during; then
		ktap_test_pass in_the_middle
	else
		not_ok in_the_middle "nothing was loaded"
	fi
	same_state state_after_interrupt
	finish
}

run_all() {
	cd "$home" || exit 1
	# Somebody has reserved some: 80 MiB, or the one that is larger
	awk '$1 == "Hugepagesize:" { n = int(80 * 1024 / $2); print n ? n : 1 }' /proc/meminfo \
		>/proc/sys/vm/nr_hugepages
	state >/tmp/before
	./run BAR=$BAR POOL=$POOL "RAM=$RAM" >/tmp/said 2>&1 </dev/null
	rc=$?
	sed 's/^/# /' /tmp/said
	mkdir -p /results
	cp $OUT/ktap $OUT/totals $OUT/report.txt /results/
	if [ $rc = 0 ]; then
		ktap_test_pass status
	else
		not_ok status "$rc"
	fi
	same_state state_after_run
	finish
}

# Nothing of what it must not have is in the report; its filter is tried with more
scrub() {
	cd "$home" || exit 1
	hostname rk3588-of-joe
	mkdir -p /home/joesmith
	cat >/tmp/planted <<-END
		kvm [1]: at 0x80123456 and [mem 0x40000000-0xbfffffff]
		arm-smmu-v3 9050000.smmuv3: ffff800080123456
		reserved@bfe00000 of pool@c0000000
		eth0: 52:54:00:12:34:56 52:54:00:12:34:57 52-54-00-12-34-58
		ip 192.168.1.17 10.0.0.1 fe80::5054:ff:fe12:3456%eth0 2001:db8:0:1:2:3:4:5 ::1
		root=UUID=123e4567-e89b-12d3-a456-426614174000 /home/joesmith/x by joesmith
		host rk3588-of-joe, rk3588-of-joe.
	END
	./report --scrub </tmp/planted >/tmp/scrubbed
	left=$(grep -ciE '80123456|40000000|bfffffff|9050000|bfe00000|c0000000|52[:-]54|192\.168|10\.0\.0|5054|2001:|::1|123e4567|joe' /tmp/scrubbed)
	if [ "$left" = 0 ] && [ "$(wc -l </tmp/scrubbed)" = 7 ]; then
		ktap_test_pass planted
	else
		not_ok planted "$(tr '\n' ';' </tmp/scrubbed)"
	fi
	printf '%s\n' 'BAR=0000:01:00.0:2 of [1af4:1110] 6.12.74+deb13-arm64 12:34:56' \
		'implementer 0x41 part 0xd49; 12345678 ns; std::map; 16 MiB' >/tmp/kept
	./report --scrub </tmp/kept >/tmp/scrubbed
	if cmp -s /tmp/scrubbed /tmp/kept; then
		ktap_test_pass kept
	else
		not_ok kept "$(tr '\n' ';' </tmp/scrubbed)"
	fi
	# The machine's own RAM begins there, its devices and pools are here
	if grep -nE '0x[0-9a-f]{8,}|9050000|([0-9a-f]{2}:){5}' /results/report.txt >/tmp/left; then
		not_ok report "$(head -n 3 /tmp/left | tr '\n' ';')"
	else
		ktap_test_pass report
	fi
	for words in 'CPU implementer' 'page size: ' 'FEAT_S2FWB' 'KVM mode: ' 'detected: ' 'passed, ' 'IOMMUs: '; do
		if grep -q "$words" /results/report.txt; then
			ktap_test_pass "has $words"
		else
			not_ok "has $words" "it is not in the report"
		fi
	done
	finish
}

collection=kvm
[ -d /sys/bus/pci/drivers/vfio-pci ] || collection=carveout
case $1 in
unpack | bad_input | interrupted | scrub | state) "$1" ;;
run) run_all ;;
esac

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The selftest of KVM_MEM_NONCACHEABLE with memory: BAR=, mapped write-combine through
# sysfs. For that it is of no driver for the time, and enabled; vfio-pci has it before
# and afterwards.

set -eu

skip() {
	echo "1..0 # SKIP $*"
	exit 4
}
[ -n "${BAR:-}" ] || skip "BAR= is not set"
[ "${MEMORY:-}" = 1 ] || skip "BAR=$BAR is not memory; MEMORY=1 says that it is"
bdf=${BAR%:*}
d=/sys/bus/pci/devices/$bdf
file=$d/resource${BAR##*:}_wc
[ -e "$file" ] || skip "BAR=$BAR is not prefetchable"
[ "$(basename "$(readlink "$d/driver" || :)")" = vfio-pci ] || skip "vfio-pci does not have $bdf"

[ "$(cat /sys/module/vfio_pci_core/parameters/strict_bars 2>/dev/null)" != Y ] ||
	skip "strict_bars=1: the administrator lets nobody have a BAR write-combine"

back() {
	[ ! -e "$d/driver" ] || return 0
	[ "$enabled" = 0 ] || echo 0 >"$d/enable"
	echo "$bdf" >/sys/bus/pci/drivers_probe
}
enabled=0
trap back EXIT
trap 'exit 143' INT TERM HUP QUIT
echo "$bdf" >"$d/driver/unbind"
echo 1 >"$d/enable"
enabled=1
cd "$(dirname "$0")"
./noncacheable_memslot -f "$file"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: code selftests/rig/x86.config
#
# What the series changes outside of arm64's own code builds on x86, without a
# warning. The base's own warnings with W=1 would be in the way.

. "$(dirname "$0")/../gate.sh"

kmake() { kernel_make "$W/apply" build-x86 x86 "$@"; }
kmake tinyconfig || exit 1
(cd "$W/apply/build-x86" && ../scripts/kconfig/merge_config.sh -m -O . .config \
	"$RIG/x86.config") || exit 1
kmake olddefconfig || exit 1
grep '^CONFIG' "$RIG/x86.config" | grep -vxFf "$W/apply/build-x86/.config" && {
	echo "options that the merge lost"
	exit 1
}
# made again, for a warning appears when an object is made
(cd "$W/apply/build-x86" && rm -rf arch/x86/kvm virt drivers/vfio)
kmake prepare arch/x86/kvm/ drivers/vfio/ >"$G/x86.build" 2>&1 || {
	cat "$G/x86.build"
	exit 1
}
! grep 'warning:' "$G/x86.build"

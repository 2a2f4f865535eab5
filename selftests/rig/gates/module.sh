#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: patched
# inputs: code arch-arm64 drivers include selftests/rig/sparse.sh
#
# The carve-out module builds as `make module` does it, with W=1, sparse and its
# debugging option, and as for a kernel with CONFIG_DEBUG_VM, whose headers call more;
# and none of them has anything to say.

. "$(dirname "$0")/../gate.sh"

m=$G/module
rm -rf "$m"
mkdir -p "$m"
cp -R -p "$TOP/drivers" "$TOP/arch-arm64" "$m"
RIG_SPARSE_LOG=$m/sparse
export RIG_SPARSE_LOG
r=0
: >"$m/sparse"
for how in CARVEOUT_DEBUG= CARVEOUT_DEBUG=1 KCFLAGS=-DCONFIG_DEBUG_VM=1; do
	find "$m" -name '*.o' -delete
	kernel_make "$W/patched" "$BUILD" arm64 M="$m/drivers" W=1 C=2 \
		CHECK="$RIG/sparse.sh" "$how" modules >"$m/log" 2>&1 || {
		cat "$m/log"
		exit 1
	}
	! grep 'warning:' "$m/log" || r=1
done
# In lockdown a parameter that names an address may not be set: so says a bit of
# struct kernel_param, its 27th byte (KERNEL_PARAM_FL_HWPARAM)
aarch64-linux-gnu-objcopy -O binary -j __param "$m/drivers/carveout_heap.ko" "$m/param"
[ "$(od -A n -t u1 -j 27 -N 1 "$m/param" | tr -d ' ')" = 2 ] || {
	echo "carveout_heap.ko: pools= is not marked as a hardware parameter"
	r=1
}
! grep '\(carveout[a-z_]*\|compat\)\.[ch]:.*\(warning\|error\)' "$m/sparse" || r=1
objects=$(sed -n 's/^carveout_heap-y := //p' "$TOP/drivers/Kbuild")
[ -n "$objects" ] || {
	echo "drivers/Kbuild names no object"
	exit 1
}
for o in $objects; do
	f=$(basename "$o" .o).c
	grep -q "^checked: \(.*/\)\{0,1\}$f$" "$m/sparse" || {
		echo "$f: sparse did not check it, or did not see a planted error"
		r=1
	}
done
exit $r

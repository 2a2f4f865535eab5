#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: code arch-arm64/configs/base.config selftests/rig/variants.config
#
# The vfio drivers of particular devices, which the rig's kernel does not have, build
# with W=1 and without a warning that the base kernel does not give.

. "$(dirname "$0")/../gate.sh"

for t in src apply; do
	kmake() { kernel_make "$W/$t" build-variants arm64 "$@"; }
	out=$W/$t/build-variants
	kmake tinyconfig
	(cd "$out" && ../scripts/kconfig/merge_config.sh -m -O . .config \
		"$TOP/arch-arm64/configs/base.config" "$RIG/variants.config")
	kmake olddefconfig
	! grep '^CONFIG' "$RIG/variants.config" | grep -vxFf "$out/.config" || {
		echo "options that the merge lost"
		exit 1
	}
	# made again, for a warning appears when an object is made
	rm -rf "$out/drivers/vfio"
	kmake W=1 drivers/vfio/ >"$G/variants.$t" 2>&1 || {
		cat "$G/variants.$t"
		exit 1
	}
	grep 'warning:' "$G/variants.$t" | sed 's/:[0-9:]*/:/' | sort >"$G/variants.$t.warnings" || :
done
comm -13 "$G/variants.src.warnings" "$G/variants.apply.warnings" >"$G/variants.new"
cat "$G/variants.new"
[ ! -s "$G/variants.new" ]

# all that the series touches there
for f in $(touched | grep '^drivers/vfio/.*\.c$'); do
	[ -f "$W/apply/build-variants/${f%.c}.o" ] || {
		echo "$f: not compiled"
		exit 1
	}
done

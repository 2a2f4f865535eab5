#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: patched
# inputs: code arch-arm64/configs selftests/rig/analyse.sh selftests/rig/sparse.sh
#
# sparse has nothing to say of the touched files that it does not say of those of
# the base kernel, and each of the files was really looked at.

. "$(dirname "$0")/../gate.sh"
. "$RIG/analyse.sh"

new_findings sparse || exit 1
# each of them was really looked at: see sparse.sh
r=0
sed -n 's/^checked: \.\.\///p' "$G/patched/sparse" |
	sed ':a; s,[^/ ]*/\.\./,,; ta' | sort -u >"$G/checked"
for f in $(touched_kernel_c); do
	# not in this kernel: see the gate "variants"
	case $f in drivers/vfio/pci/*/*) continue ;; esac
	# sparse has limits that a file of the base kernel may exceed
	! grep -q "^$f: error: sparse does not see" "$G/base/sparse.findings" || {
		echo "$f: sparse gives up on the base kernel's, too"
		continue
	}
	grep -qxF "$f" "$G/checked" || {
		echo "$f: sparse did not check it, or did not see a planted error"
		r=1
	}
done
exit $r

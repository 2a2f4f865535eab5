#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: patched
# inputs: code arch-arm64/configs
#
# Every C file that the series touches was compiled; what is below drivers/vfio/pci/*/,
# by the gate "variants".

. "$(dirname "$0")/../gate.sh"

sources_of "$W/patched" >"$G/sources"
r=0
for f in $(touched | grep '\.c$'); do
	case $f in
	tools/testing/selftests/kvm/* | tools/testing/selftests/vfio/*)
		o=${f#tools/testing/selftests/}
		[ -f "$W/patched/build/${o%.c}.o" ] || {
			echo "$f: not compiled"
			r=1
		}
		;;
	drivers/vfio/pci/*/*) ;;
	*)
		grep -q "^$f " "$G/sources" || {
			echo "$f: not compiled"
			r=1
		}
		;;
	esac
done
exit $r

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: prefixes.sh keep <series>
#	 prefixes.sh plan|results
#
# Boots the kernel of each series without those after it, on n1, and runs the tests
# that are about that series; those of the series before it are run by theirs, and all of
# them with all series. The gate "bisect" builds these kernels on its way to the last
# series, and has them kept.

. "$(dirname "$0")/lib.sh"
lock

config=n1
earlier() { series_upto | sed '$d'; }
content_of() { git -C "$W/src" rev-parse "refs/rig/$1^{tree}"; }

keep() {
	build=$W/patched/$BUILD to=$W/prefix/$1
	"$RIG/initramfs.sh" modules "$build"
	rm -rf "$to"
	mkdir -p "$to/arch/arm64/boot"
	cp "$build/arch/arm64/boot/Image" "$to/arch/arm64/boot/"
	cp "$build/modules.cpio" "$to/"
	content_of "$1" >"$to/content"
}

plan() {
	# Nothing to do where check.sh has just run it
	"$RIG/gates.sh" results bisect >&2
	for s in $(earlier); do
		# Kept from patches that were others
		[ "$(cat "$W/prefix/$s/content" 2>/dev/null)" = "$(content_of "$s")" ] ||
			AGAIN=1 "$RIG/gates.sh" results bisect >&2
		# With fewer rounds than there, and without the carve-out module and its pools
		# shellcheck disable=SC2046	# names
		SERIES=$s list_for "$config" s2_rig_control \
			$(awk -v s="$s" '$2 == s { print $3 }' "$TOP/selftests/tests") |
			grep -v ' carveout_' | sed 's|MT_ROUNDS=[0-9]* /tests/s2_blobs|MT_ROUNDS=250 /tests/s2_blobs|
				s|MT_ROUNDS=[0-9]* /tests/vfio_barrier|MT_ROUNDS=25 /tests/vfio_barrier|
				s|CARVEOUT_POOL=[a-z]* MT_OPS=[0-9]*|MT_OPS=1000|' |
			plan_boot "$LOGS/prefix/$config@$s" "$W/prefix/$s" 600
	done
}

results() {
	for s in $(earlier); do
		judge_boot "$config@$s" "$LOGS/prefix/$config@$s"
	done
}

case $1 in
keep) keep "$2" ;;
plan | results) "$1" ;;
*) die "keep, plan or results?" ;;
esac

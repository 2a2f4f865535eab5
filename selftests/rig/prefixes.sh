#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: prefixes.sh keep <series>
#	 prefixes.sh plan|results
#
# Boots the kernel of each series without those after it, on n1, and runs the tests
# that are meant for it. The gate "bisect" builds these kernels on its way to the last
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
		# Without the tests of the module, which needs no series; and what is
		# made in thousands of rounds with all series is made in hundreds
		SERIES=$s list_for "$config" | grep -v ' carveout_' |
			sed 's| /tests/s2_blobs| MT_ROUNDS=1000&|; s|MT_OPS=[0-9]*|MT_OPS=2500|' |
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

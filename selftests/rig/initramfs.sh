#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: initramfs.sh tests
#	 initramfs.sh modules <build directory>
#	 initramfs.sh kvm <build directory>
#
# Makes the archives a kernel boots with, which boot.sh strings together:
# tests.cpio, one for all kernels (a static user space, the rig's init and our tests,
# linked with the patched tree's libkvm); modules.cpio (our modules, and the
# selftests that the series adds); kvm.cpio (the kernel tree's own KVM selftests).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

what=$1 out=${2:-$W/tests}
log=$LOGS/initramfs-$what.log

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM HUP

# done_as KEY: is the archive that there is made from that?
done_as() { [ "$(cat "$out/.rig-$what" 2>/dev/null)" = "$1" ]; }

tests() {
	# The user space: Debian's busybox-static for arm64, unpacked, not installed.
	busybox=$CACHE/busybox/bin/busybox
	[ -f "$CACHE/busybox/complete" ] || quietly "fetching busybox for arm64" "$log" \
		unpack_arm64 "$CACHE/busybox" busybox-static

	# What they are compiled and linked with: headers and libraries, not the kernel
	tree=$W/patched
	own=$(hash_of "$TOP/selftests/lib" "$TOP/selftests/kvm" "$TOP/selftests/vfio" \
		"$TOP/selftests/carveout" "$TOP/selftests/model" "$TOP/selftests/bench" \
		"$TOP/selftests/modules" "$TOP/include")
	key="$own $(git -C "$tree" rev-parse HEAD:tools HEAD:include/uapi \
		HEAD:arch/arm64/include/uapi HEAD:arch/arm64/include/asm/sysreg.h | sha256sum) \
		$(hash_of "$RIG/init" "$0")"
	! done_as "$key" || return 0
	# shellcheck disable=SC2317	# called by quietly
	own_tests() {
		# No path of this checkout in what is built
		for d in kvm vfio carveout model bench; do
			make -s -j"$JOBS" -C "$TOP/selftests/$d" KERNEL_TREE="$tree" \
				HEADERS="$tree/$BUILD/usr/include" OUT="$out" \
				EXTRA_CFLAGS="-ffile-prefix-map=$TOP/= $LIBUUID_CFLAGS" \
				USERLDFLAGS="$LIBUUID_LDFLAGS"
		done
	}
	rm -rf "$out"
	quietly "building our tests" "$log" own_tests

	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" \
		"$root/tests" "$root/modules" "$root/results"
	install -m 755 "$busybox" "$root/bin/busybox"
	install -m 755 "$RIG/init" "$root/init"
	find "$out" -maxdepth 1 -type f -perm -100 | while read -r f; do
		case $f in
		*.sh) install -m 755 "$f" "$root/tests/" ;;
		*) aarch64-linux-gnu-strip -o "$root/tests/$(basename "$f")" "$f" ;;
		esac
	done
	pack "$root" "$out/tests.cpio"
	echo "$key" >"$out/.rig-$what"
}

modules() {
	key="$(cat "$out/.rig-stamp") $(hash_of "$0")"
	! done_as "$key" || return 0
	mkdir -p "$root/modules" "$root/tests"
	# Debian's configuration has debugging information in modules, most of their size
	find "$out/rig-modules" "$out/modules" -name '*.ko' 2>/dev/null | while read -r f; do
		aarch64-linux-gnu-strip -g -o "$root/modules/$(basename "$f")" "$f"
	done
	# They want a device, which a line of selftests/tests gives them
	[ ! -f "$out/own-tests" ] || while read -r t; do
		[ ! -x "$out/$t" ] ||
			aarch64-linux-gnu-strip -o "$root/tests/$(basename "$t")" "$out/$t"
	done <"$out/own-tests"
	pack "$root" "$out/modules.cpio"
	echo "$key" >"$out/.rig-$what"
}

# The tests of the kernel tree, named as they are there
kvm() {
	key="$(cat "$out/.rig-stamp") $(hash_of "$0")"
	! done_as "$key" || return 0
	mkdir -p "$root/kvm"
	(cd "$out/kvm" && find . -type f -perm -100 ! -name '*.o' ! -path './tools/*') |
		while read -r f; do
			mkdir -p "$root/kvm/$(dirname "$f")"
			aarch64-linux-gnu-strip -o "$root/kvm/$f" "$out/kvm/$f"
		done
	(cd "$root/kvm" && find . -type f | sed 's|^\./||' | sort) >"$out/kvm.list"
	[ -s "$out/kvm.list" ] || die "no KVM selftest was built"
	pack "$root" "$out/kvm.cpio"
	echo "$key" >"$out/.rig-$what"
}

case $what in
tests | modules | kvm) "$what" ;;
*) die "tests, modules or kvm?" ;;
esac

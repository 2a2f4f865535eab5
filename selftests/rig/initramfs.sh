#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: initramfs.sh unpatched|patched|stock
#
# Makes the two archives a kernel boots with, which boot.sh strings together:
# tests.cpio (a static user space, the rig's init, our tests and modules) and
# kvm.cpio (the kernel tree's own KVM selftests, not for the stock kernel). Our
# tests are linked with the patched tree's libkvm in all cases.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

which=$1
case $which in
unpatched) out=$W/src/$BUILD ;;
patched) out=$W/patched/$BUILD ;;
stock) out=$CACHE/debian/stock ;;
*) die "unpatched, patched or stock?" ;;
esac
log=$LOGS/initramfs-$which.log

# The user space: Debian's busybox-static for arm64, unpacked, not installed.
busybox=$CACHE/busybox/bin/busybox
[ -x "$busybox" ] || quietly "fetching busybox for arm64" "$log" \
	unpack_arm64 "$CACHE/busybox" busybox-static

# Our own tests
if [ -f "$TOP/selftests/kvm/Makefile" ]; then
	headers=$W/patched/$BUILD/usr/include
	own_tests() {
		for d in kvm vfio carveout; do
			make -s -j"$JOBS" -C "$TOP/selftests/$d" KERNEL_TREE="$W/patched" \
				HEADERS="$headers" OUT="$W/tests" \
				EXTRA_CFLAGS="$LIBUUID_CFLAGS" \
				USERLDFLAGS="$LIBUUID_LDFLAGS"
		done
	}
	key=$(cat "$W/patched/$BUILD/.rig-stamp")$(hash_of "$TOP/selftests/lib" \
		"$TOP/selftests/kvm" "$TOP/selftests/vfio" "$TOP/selftests/carveout" \
		"$TOP/selftests/modules" "$TOP/include")
	[ "$(cat "$W/tests/.rig-stamp" 2>/dev/null)" = "$key" ] || {
		rm -rf "$W/tests"
		quietly "building our tests" "$log" own_tests
		echo "$key" >"$W/tests/.rig-stamp"
	}
fi

pack() { (cd "$1" && find . | sort | cpio -o -H newc -R 0:0 --quiet --reproducible) >"$2"; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

key=$(cat "$out/.rig-stamp" "$W/tests/.rig-stamp" 2>/dev/null)$(hash_of "$RIG/init" "$0")
[ "$(cat "$out/.rig-initramfs" 2>/dev/null)" != "$key" ] || exit 0

mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" \
	"$root/tests" "$root/modules" "$root/results"
install -m 755 "$busybox" "$root/bin/busybox"
install -m 755 "$RIG/init" "$root/init"
find "$W/tests" -maxdepth 1 -type f -perm -100 2>/dev/null | while read -r f; do
	case $f in
	*.sh) install -m 755 "$f" "$root/tests/" ;;
	*) aarch64-linux-gnu-strip -o "$root/tests/$(basename "$f")" "$f" ;;
	esac
done
# The series' own tests want a device, which a line of selftests/tests gives them
for own in kvm/arm64/noncacheable_memslot vfio/vfio_pci_region_memtype_test; do
	[ ! -f "$out/$own" ] ||
		aarch64-linux-gnu-strip -o "$root/tests/$(basename "$own")" "$out/$own"
done
# Debian's configuration has debugging information in modules, most of their size
find "$out/rig-modules" "$out/modules" -name '*.ko' 2>/dev/null | while read -r f; do
	aarch64-linux-gnu-strip -g -o "$root/modules/$(basename "$f")" "$f"
done
pack "$root" "$out/tests.cpio"
[ "$which" != stock ] || {
	echo "$key" >"$out/.rig-initramfs"
	exit 0
}

# The tests of the kernel tree, named as they are there
rm -rf "$root"
mkdir -p "$root/kvm"
(cd "$out/kvm" && find . -type f -perm -100 ! -name '*.o' ! -path './tools/*') |
	while read -r f; do
		mkdir -p "$root/kvm/$(dirname "$f")"
		aarch64-linux-gnu-strip -o "$root/kvm/$f" "$out/kvm/$f"
	done
(cd "$root/kvm" && find . -type f | sed 's|^\./||' | sort) >"$out/kvm.list"
[ -s "$out/kvm.list" ] || die "no KVM selftest was built"
pack "$root" "$out/kvm.cpio"
echo "$key" >"$out/.rig-initramfs"

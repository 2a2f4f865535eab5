#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: emulator.sh
#
# Makes the emulator that configurations with a cache model boot in, and prints where
# it is: the distribution's QEMU source with patches/qemu-model, native, with the
# virtual Arm machine only. It is built again when source, patches or compiler change,
# and nothing but the program is kept; ccache makes the next one quick.

. "$(dirname "$0")/lib.sh"
lock

dir=$CACHE/emulator
log=$CACHE/emulator.log
source=$("$RIG/qemu-source.sh")
key="$(cat "${source%/*}/source") $(hash_of "$TOP/patches/qemu-model" "$0") $(gcc --version | head -n 1)"
[ "$(cat "$dir/stamp" 2>/dev/null)" != "$key" ] || {
	echo "$dir/qemu-system-aarch64"
	exit 0
}

work=$dir/work
prepare() {
	rm -rf "$dir"
	mkdir -p "$work"
	cp -R -p "$source" "$work/src"
	for p in "$TOP"/patches/qemu-model/*.patch; do
		patch -d "$work/src" -p1 -F0 --no-backup-if-mismatch <"$p"
	done
}
# No path of the cache in the objects, so that they are the same in any.
# Of the boards only virt, with what it needs and the devices that boot.sh has (igb
# is linked with code of e1000e)
configure() {
	mkdir "$work/build"
	for d in ARM_VIRT VIRTIO_PCI VIRTIO_SERIAL IVSHMEM_DEVICE BOCHS_DISPLAY PCI_TESTDEV \
		EDU NVME_PCI E1000E_PCI_EXPRESS IGB_PCI_EXPRESS PCIE_PORT CACHE_MODEL; do
		echo "CONFIG_$d=y"
	done >"$work/src/configs/devices/aarch64-softmmu/rig.mak"
	(cd "$work/build" &&
		CCACHE_BASEDIR=$work ../src/configure --cc="ccache gcc" --python=/usr/bin/python3 \
			--target-list=aarch64-softmmu --without-default-devices \
			--with-devices-aarch64=rig --without-default-features \
			--enable-trace-backends=nop -Doptimization=1 --enable-tcg --enable-fdt=system \
			--enable-pixman --disable-download --disable-install-blobs \
			--disable-debug-info)
}
build() {
	CCACHE_BASEDIR=$work ninja -C "$work/build" -j "$JOBS" qemu-system-aarch64
	strip -o "$dir/qemu-system-aarch64" "$work/build/qemu-system-aarch64"
	"$dir/qemu-system-aarch64" -device cache-model,help | grep 'counters='
}
: >"$log"
quietly "patching QEMU" "$log" prepare >&2
quietly "configuring the emulator" "$log" configure >&2
quietly "building the emulator" "$log" build >&2
rm -rf "$work"
echo "$key" >"$dir/stamp"
echo "$dir/qemu-system-aarch64"

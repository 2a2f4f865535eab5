#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: boot.sh <directory>
#
# Makes the boot that lib.sh's new_boot() has described in a directory, which has the
# name of one of the rig's configurations (and @ and a series): the kernel of a build
# directory, tests.cpio, that kernel's modules.cpio, more archives, the tests of
# <directory>/list, and arguments for QEMU of <directory>/extra. Leaves there:
# console.log, port.log (see init) and qemu.status. It judges nothing. QEMU never
# outlives this script.

. "$(dirname "$0")/lib.sh"

dir=$1
name=$(basename "$dir")
name=${name%@*}
build=$(cat "$dir/build") limit=$(cat "$dir/limit")

line=$(awk -v n="$name" '$1 == n' "$RIG/configs")
[ -n "$line" ] || die "selftests/rig/configs has no configuration $name"
read -r _ cpu machine _ memory pools firmware cache append <<END
$line
END
[ "$machine" != - ] || machine=
[ "$append" != - ] || append=
emulator=$(emulator_of "$name")

rm -f "$dir/console.log" "$dir/port.log" "$dir/qemu.status" "$dir/qemu.log"
mkdir -p "$dir/rig"
cp "$dir/list" "$dir/rig/list"
(cd "$dir" && find rig | cpio -o -H newc -R 0:0 --quiet) >"$dir/list.cpio"
xargs -d '\n' cat "$W/tests/tests.cpio" "$build/modules.cpio" <"$dir/archives" >"$dir/initrd"
cat "$dir/list.cpio" >>"$dir/initrd"
: >"$dir/port.log"

# ICOUNT: one CPU, one instruction a nanosecond, every boot the same.
# shellcheck disable=SC2086	# options
if [ -n "${ICOUNT:-}" ]; then
	machine=$machine,dtb-randomness=off
	append="$append nokaslr"
	cpus=1
	set -- -icount shift=0,sleep=off -seed 1 \
		-rtc base=2026-01-01T00:00:00,clock=vm
else
	cpus=2
	set --
fi

# Where the device tree reserves nothing, the kernel is given 2 GiB: the rest is
# RAM without a linear map.
[ "$pools" != - ] || append="mem=2G $append"
machine="virt,virtualization=on,gic-version=3,iommu=smmuv3${machine:+,${machine#,}}"

[ "$cache" = - ] || set -- "$@" -device "cache-model,id=cache,$cache"
image=$build/arch/arm64/boot/Image
case $firmware in
-) ;;
loader)
	# The kernel 2 MiB behind it. The cache is over the memory that it has used
	at=0x200000
	aarch64-linux-gnu-gcc -nostdlib -static -Wl,-Ttext=0,--build-id=none -DKERNEL_AT=$at \
		-DLOADER_AND_KERNEL=0x6000000 -DLOADER_BASE=0xC0000000 -DLOADER_SIZE=0x800000 \
		-o "$dir/loader.elf" "$RIG/loader.S"
	aarch64-linux-gnu-objcopy -O binary "$dir/loader.elf" "$dir/loader"
	truncate -s $((at)) "$dir/loader"
	cat "$image" >>"$dir/loader"
	image=$dir/loader
	;;
*) set -- "$@" -bios "$CACHE/$firmware/usr/share/qemu-efi-aarch64/QEMU_EFI.fd" ;;
esac

# The machine's own device tree with the overlay of the configuration
if [ "$pools" != - ]; then
	"$emulator" -nodefaults -display none -cpu "$cpu" -smp "$cpus" \
		-m "$memory" -M "$machine,dumpdtb=$dir/machine.dtb" 2>"$dir/dtc.log"
	{
		dtc -q -I dts -O dtb -o "$dir/pools.dtbo" "$TOP/arch-arm64/dts/$pools.dtso" &&
			fdtoverlay -i "$dir/machine.dtb" -o "$dir/pools.dtb" "$dir/pools.dtbo"
	} 2>>"$dir/dtc.log" || {
		cat "$dir/dtc.log" >&2
		die "$pools.dtso cannot be applied to the machine's device tree"
	}
	# Which an overlay has, too, but does not bring
	reserve=$(sed -n 's|^/memreserve/|&|p' "$TOP/arch-arm64/dts/$pools.dtso")
	[ -z "$reserve" ] || {
		dtc -q -I dtb -O dts "$dir/pools.dtb" | sed "1a $reserve" >"$dir/pools.dts"
		dtc -q -I dts -O dtb -o "$dir/pools.dtb" "$dir/pools.dts"
	}
	set -- "$@" -dtb "$dir/pools.dtb"
fi

# The devices have the addresses that tests know them by. The NVMe driver, whose device
# is there for vfio-pci, would probe in parallel with the root ports' driver. From QEMU's
# 2865bf1c5795 ("system/physmem: fix use-after-free with dispatch") to 94c6e9cf0443 an
# access of one CPU to a device that meets a change of the memory map by the other can go
# to another region, and be an external abort.
# The time limit is kept by timeout; the parent-death signal takes it and QEMU
# along if this script is killed outright.
set -- "$emulator" -nodefaults -display none -no-reboot \
	-M "$machine" -cpu "$cpu" -smp "$cpus" -m "$memory" "$@" \
	-kernel "$image" -initrd "$dir/initrd" \
	-append "console=ttyAMA0 panic=-1 initcall_blacklist=nvme_init ${append}" \
	-serial "file:$dir/console.log" \
	-device virtio-serial-pci,addr=1 \
	-chardev "file,id=verdict,path=$dir/port.log" \
	-device virtserialport,chardev=verdict,name=verdict \
	-object memory-backend-ram,id=shm,size=64M,share=on \
	-device ivshmem-plain,memdev=shm,addr=2 \
	-device bochs-display,vgamem=16M,romfile=,addr=3 \
	-device pci-testdev,membar=16M,addr=4 \
	-device edu,addr=5 \
	-device nvme,id=nvme,serial=rig,cmb_size_mb=16,addr=6 \
	-device igb,romfile=,addr=7 \
	-object memory-backend-ram,id=large,size=4G,share=on \
	-device ivshmem-plain,memdev=large,addr=8 \
	-device pcie-root-port,id=port1,hotplug=off,chassis=1,addr=9 \
	-device bochs-display,vgamem=16M,romfile=,bus=port1 \
	-device pcie-root-port,id=port2,chassis=2,slot=1,addr=a \
	-object memory-backend-ram,id=unplug,size=4M,share=on \
	-device ivshmem-plain,memdev=unplug,bus=port2
# What this boot alone has, one argument a line
if [ -f "$dir/extra" ]; then
	while IFS= read -r arg; do
		set -- "$@" "$arg"
	done <"$dir/extra"
fi
[ "$V" != 1 ] || echo "+ $*"

qemu=
# shellcheck disable=SC2317	# called by the traps
stop() {
	[ -z "$qemu" ] || kill -TERM "$qemu" 2>/dev/null || :
	[ -z "$qemu" ] || wait "$qemu" 2>/dev/null || :
	rm -rf "$dir/initrd" "$dir/list.cpio" "$dir/rig" "$dir/loader" "$dir/loader.elf"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

setpriv --pdeathsig TERM timeout -k 5 "$limit" \
	setpriv --pdeathsig KILL "$@" >"$dir/qemu.log" 2>&1 </dev/null 9>&- &
qemu=$!
# A signal reaches only some of the scripts above: see whether the first lives.
while kill -0 "$qemu" 2>/dev/null; do
	kill -0 "$RIG_PID" 2>/dev/null || exit 130
	sleep 0.3
done
rc=0
wait "$qemu" || rc=$?
qemu=
echo "$rc" >"$dir/qemu.status"

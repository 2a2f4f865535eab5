#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: drivers/overlay.sh arch-arm64/dts
#
# The overlay that is made for a board has the board's cells, on QEMU's and on boards
# whose root has others; what was reserved there is still understood, and not given to a
# pool. The example in arch-arm64/dts, which has two and two, is refused for the others.

. "$(dirname "$0")/../gate.sh"

o=$G/overlay
rm -rf "$o"
mkdir -p "$o"

# board ADDRESS_CELLS SIZE_CELLS REG MEMORY: with reservations of its own
board() {
	dtc -q -I dts -O dtb -o "$o/board.dtb" - <<-END
		/dts-v1/;
		/memreserve/ 0x3e000000 0x100000;
		/ {
			#address-cells = <$1>;
			#size-cells = <$2>;
			memory@0 {
				device_type = "memory";
				reg = <$4>;
			};
			reserved-memory {
				#address-cells = <$1>;
				#size-cells = <$2>;
				ranges;
				firmware@3f000000 {
					reg = <$3>;
					no-map;
				};
			};
		};
	END
}
# What the kernel looks at (__reserved_mem_check_root() in drivers/of/of_reserved_mem.c)
understood() {
	[ "$(fdtget "$1" /reserved-memory '#address-cells')" = "$(fdtget "$1" / '#address-cells')" ] &&
		[ "$(fdtget "$1" /reserved-memory '#size-cells')" = "$(fdtget "$1" / '#size-cells')" ] &&
		fdtget "$1" /reserved-memory ranges >/dev/null
}
# check WHAT REG [SHARED]: the overlay for board.dtb, whose pool is to have that reg
check() {
	if ! "$TOP/drivers/overlay.sh" "$o/board.dtb" "$o/pool.dtbo" vm7 0xc0000000 64M ${3:+shared} ||
		! fdtoverlay -i "$o/board.dtb" -o "$o/both.dtb" "$o/pool.dtbo"; then
		echo "$1: no overlay, or it does not apply"
		return 1
	fi
	understood "$o/both.dtb" || {
		echo "$1: the kernel would ignore /reserved-memory"
		return 1
	}
	reg=$(fdtget -t x "$o/both.dtb" /reserved-memory/carveout-pool@c0000000 reg)
	[ "$reg" = "$2" ] || {
		echo "$1: reg is $reg, expected $2"
		return 1
	}
	[ "$(fdtget "$o/both.dtb" /carveout-heap-c0000000 label)" = vm7 ] || return 1
	s=no
	! fdtget "$o/both.dtb" /carveout-heap-c0000000 linux,shared >/dev/null 2>&1 || s=yes
	[ "$s" = "${3:-no}" ] || {
		echo "$1: shared: $s"
		return 1
	}
}

r=0
qemu-system-aarch64 -nodefaults -display none -m 4G -M "virt,dumpdtb=$o/board.dtb" 2>/dev/null
check "QEMU's virt" "0 c0000000 0 4000000" || r=1
check "QEMU's virt, shared" "0 c0000000 0 4000000" yes || r=1
board 2 1 "0 0x3f000000 0x100000" "0 0 0xf0000000"
check "2/1, as on a Raspberry Pi 4" "0 c0000000 4000000" || r=1
dtc -q -I dts -O dtb -o "$o/example.dtbo" "$TOP/arch-arm64/dts/carveout-heap.dtso"
fdtoverlay -i "$o/board.dtb" -o "$o/both.dtb" "$o/example.dtbo"
! understood "$o/both.dtb" || {
	echo "the check does not see that the example is not for a board with 2/1"
	r=1
}
# says WORDS STATUS BASE SIZE: a pool there
says() {
	"$TOP/drivers/overlay.sh" "$o/board.dtb" "$o/pool.dtbo" vm7 "$3" "$4" 2>"$o/said" && s=0 || s=$?
	if [ "$s" != "$2" ] || ! grep -q "$1" "$o/said"; then
		echo "$4 at $3: status $s, expected $2, and that it says \"$1\""
		cat "$o/said"
		return 1
	fi
}
says "firmware@3f000000" 1 0x3f0ff000 2M || r=1
says "firmware@3f000000" 1 0x3ef00000 4M || r=1
says "/memreserve/" 1 0x3e000000 4K || r=1
says "has no memory" 0 0xefc00000 8M || r=1
if ! "$TOP/drivers/overlay.sh" "$o/board.dtb" "$o/pool.dtbo" vm7 0x3f100000 4K 2>"$o/said" ||
	[ -s "$o/said" ]; then
	echo "beside what is reserved: $(cat "$o/said")"
	r=1
fi
board 1 1 "0x3f000000 0x100000" "0 0xf0000000"
check "1/1" "c0000000 4000000" || r=1
! "$TOP/drivers/overlay.sh" "$o/board.dtb" "$o/pool.dtbo" vm7 0x100000000 64M 2>/dev/null || {
	echo "1/1: 4 GiB is an address there"
	r=1
}
for bad in "a/b" "a b"; do
	! "$TOP/drivers/overlay.sh" "$o/board.dtb" "$o/pool.dtbo" "$bad" 2>/dev/null || {
		echo "\"$bad\" is taken for a name"
		r=1
	}
done
exit $r

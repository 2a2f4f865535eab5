#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: overlay.sh <board.dtb> <overlay.dtbo> [<name> [<base> [<size> [shared]]]]
#
# Makes a device-tree overlay with a pool of the carve-out module for a board: "vm0",
# 256 MiB from 0xc0000000 on, if nothing else is said. /reserved-memory must have the
# #address-cells and #size-cells of the root, or the kernel ignores all reservations
# of the board; they are not the same on all boards, which is why the board is looked
# at; and for what has been reserved there, as the kernel gives a pool what another one
# has reserved without a mapping, too. Numbers may have the suffixes K, M and G.

set -eu

die() {
	echo "overlay.sh: $*" >&2
	exit 1
}
number() {
	case $1 in
	*K) n=${1%K} shift=10 ;;
	*M) n=${1%M} shift=20 ;;
	*G) n=${1%G} shift=30 ;;
	*) n=$1 shift=0 ;;
	esac
	case $n in
	0x*) ! expr "${n#0x}" : '.*[^0-9a-fA-F]' >/dev/null || die "$1 is not a number" ;;
	*) expr "$n" : '[1-9][0-9]*$' >/dev/null || die "$1 is not a number" ;;
	esac
	echo $((n << shift))
}
# cells VALUE N: as many 32-bit cells
cells() {
	case $2 in
	1)
		[ $(($1 >> 32)) = 0 ] || die "$(printf '0x%x' "$1") does not fit in one cell of $board"
		printf '0x%x' "$1"
		;;
	2) printf '0x%x 0x%x' $(($1 >> 32)) $(($1 & 0xffffffff)) ;;
	*) die "$board has $2 cells for an address or a size: 1 or 2 was expected" ;;
	esac
}

[ $# -ge 2 ] || die "usage: overlay.sh <board.dtb> <overlay.dtbo> [<name> [<base> [<size> [shared]]]]"
[ -n "$1" ] || die "no board: BASE_DTB=board.dtb, or /sys/firmware/fdt on the board itself"
board=$1 out=$2 name=${3:-vm0}
base=$(number "${4:-0xc0000000}")
size=$(number "${5:-256M}")
case ${6:-} in
'') shared= ;;
shared) shared='linux,shared;' ;;
*) die "\"$6\" is not \"shared\"" ;;
esac
for tool in dtc fdtget; do
	command -v "$tool" >/dev/null || die "$tool is missing: apt-get install device-tree-compiler"
done
expr "$name" : '[A-Za-z0-9_-][A-Za-z0-9._-]*$' >/dev/null || die "\"$name\" cannot be a pool's name"
[ $((base % 4096 + size % 4096)) = 0 ] || die "base and size must be multiples of 4096"

# What is left out has a default (Devicetree Specification, "#address-cells and #size-cells")
ac=$(fdtget -d 2 "$board" / '#address-cells')
sc=$(fdtget -d 1 "$board" / '#size-cells')
# ranges PATH: addresses and sizes of a node's reg, one a line
ranges() {
	# shellcheck disable=SC2046	# numbers
	set -- $(fdtget -t x "$board" "$1" reg 2>/dev/null)
	while [ $# -ge $((ac + sc)) ]; do
		a=0 s=0
		for i in $(seq $((ac + sc))); do
			if [ "$i" -le "$ac" ]; then a=$((a << 32 | 0x$1)); else s=$((s << 32 | 0x$1)); fi
			shift
		done
		echo "$a $s"
	done
}
# nodes PATH: those below it that are not disabled
nodes() {
	fdtget -l "$board" "$1" 2>/dev/null | while read -r n; do
		case $(fdtget -d okay "$board" "${1%/}/$n" status) in
		ok*) echo "$n" ;;
		esac
	done
}
# What the pool overlaps, but for an earlier one in its place
nodes /reserved-memory | grep -vxF "carveout-pool@$(printf '%x' "$base")" | while read -r n; do
	ranges "/reserved-memory/$n" | sed "s|\$| $n|"
done | {
	cat
	dtc -q -I dtb -O dts "$board" |
		sed -n 's|^/memreserve/[^0]*\(0x[0-9a-f]*\) \(0x[0-9a-f]*\);.*|\1 \2 /memreserve/|p'
} | while read -r a s n; do
	[ $((base >= a + s || base + size <= a)) = 1 ] ||
		die "$board has reserved $(printf '0x%x bytes at 0x%x' "$s" "$a"), $n:" \
			"a pool there would be memory that is somebody else's"
done
# A file may leave it to the firmware how much there is
nodes / | sed -n '/^memory@/p; /^memory$/p' | while read -r n; do
	ranges "/$n"
done | {
	found=
	while read -r a s; do
		[ $((base < a || base + size > a + s)) = 1 ] || found=1
	done
	[ -n "$found" ] || echo "overlay.sh: $board has no memory from $(printf '0x%x to 0x%x' \
		"$base" $((base + size - 1))): is there, once the firmware has filled it in?" >&2
}

start=$(cells "$base" "$ac")
length=$(cells "$size" "$sc")
unit=$(printf '%x' "$base")

dtc -q -I dts -O dtb -o "$out" - <<END
/dts-v1/;
/plugin/;

&{/} {
	reserved-memory {
		#address-cells = <$ac>;
		#size-cells = <$sc>;
		ranges;

		carveout_pool: carveout-pool@$unit {
			compatible = "linux,carveout-heap-pool";
			reg = <$start $length>;
			no-map;
		};
	};

	carveout-heap-$unit {
		compatible = "linux,carveout-heap";
		memory-region = <&carveout_pool>;
		label = "$name";
		$shared
	};
};
END

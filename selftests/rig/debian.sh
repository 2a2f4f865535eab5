#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: debian.sh stock|newest
#
# Builds the carve-out module against a kernel of Debian's, as it is, with the
# headers packages and the compiler that Debian builds that kernel with: "stock"
# is the newest 6.12, "newest" the newest kernel in the archive. Of the stock
# kernel the image is kept as well, in a directory that boot.sh can boot. Nothing
# is installed: the tools are unpacked into a root of their own and run there, in
# a user namespace.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

which=$1
case $which in
stock) suites=trixie ;;
newest) suites='trixie-backports sid experimental' ;;
*) die "stock or newest?" ;;
esac
dir=$CACHE/debian/$which
log=$LOGS/debian-$which.log
host=$(dpkg --print-architecture)
mkdir -p "$dir" "$LOGS"

show() { APT_CONFIG=$CACHE/apt/$1/apt.conf apt-cache show "$2=$3"; }
field() { sed -n "s/^$1: //p" | head -n 1; }

# The suite that has the newest kernel, as "suite version package", where the
# package is the one that linux-headers-arm64 stands for
find_kernel() {
	best=
	for suite in $suites; do
		apt_root "$suite-arm64" arm64 "$suite"
		apt_get "$suite-arm64" update
		v=$(apt_version "$suite-arm64" linux-headers-arm64)
		[ -n "$v" ] || continue
		[ -z "$best" ] || dpkg --compare-versions "$v" gt "${best#* }" || continue
		best="$suite $v"
	done
	[ -n "$best" ] || die "no linux-headers-arm64 in $suites"
	suite=${best% *} v=${best#* }
	p=$(show "$suite-arm64" linux-headers-arm64 "$v" | field Depends |
		sed -n 's/.*\(linux-headers-[0-9][^ ,]*-arm64\).*/\1/p')
	[ -n "$p" ] || die "linux-headers-arm64 $v depends on no headers"
	echo "$suite $v $p" >"$dir/found"
}

# The release that a suite is an addition to, where compiler and libraries are
release_of() {
	case $1 in
	experimental) echo sid ;;
	*) echo "${1%-backports}" ;;
	esac
}

fetch_root() {
	release=$(release_of "$suite")
	set -- "$release" "$suite"
	[ "$release" != "$suite" ] || shift
	apt_root "$release-tools" "$host" "$@"
	# nothing is installed there yet, whatever this system has
	: >"$CACHE/apt/$release-tools/status"
	echo "Dir::State::status \"$CACHE/apt/$release-tools/status\";" \
		>>"$CACHE/apt/$release-tools/apt.conf"
	apt_get "$release-tools" update

	depends=$(show "$suite-arm64" "$headers" "$version" | field Depends)
	gcc=$(echo "$depends" | sed -n 's/.*\(gcc-[0-9]*\).*/\1/p')
	common=$(echo "$depends" | sed -n 's/.*\(linux-headers-[^ ,]*-common\).*/\1/p')
	kbuild=$(echo "$depends" | sed -n 's/.*\(linux-kbuild-[^ ,]*\).*/\1/p')
	cross=
	[ "$host" = arm64 ] || cross=-aarch64-linux-gnu
	rm -rf "$dir/debs" "$dir/root"
	mkdir -p "$dir/debs" "$dir/root/usr/bin" "$dir/root/usr/sbin" \
		"$dir/root/usr/lib" "$dir/root/usr/lib64" "$dir/root/dev" \
		"$dir/root/tmp"
	for l in bin sbin lib lib64; do
		ln -s "usr/$l" "$dir/root/$l"
	done
	packages=$(apt_get "$release-tools" install -s --no-install-recommends \
		"$gcc$cross" "binutils$cross" "$common=$version" "$kbuild=$version" \
		make dash coreutils findutils grep mawk sed |
		awk '$1 == "Inst" { sub(/:.*/, "", $2); print $2 "=" substr($3, 2) }')
	# shellcheck disable=SC2086	# a list
	(cd "$dir/debs" && apt_get "$release-tools" download $packages)
	(cd "$dir/debs" && apt_get "$suite-arm64" download "$headers=$version")
	for p in "$dir"/debs/*.deb; do
		dpkg-deb -x "$p" "$dir/root"
	done
	rm -rf "$dir/debs"
	ln -s mawk "$dir/root/usr/bin/awk"
	echo "$gcc" >"$dir/gcc"
}

# The image package is large, and only the kernel in it is wanted
fetch_image() {
	release=${headers#linux-headers-}
	mkdir -p "$dir/debs" "$dir/arch/arm64/boot"
	(cd "$dir/debs" && apt_get "$suite-arm64" download "linux-image-$release=$version")
	dpkg-deb --fsys-tarfile "$dir"/debs/linux-image-*.deb |
		tar -xO "./boot/vmlinuz-$release" >"$dir/arch/arm64/boot/Image"
	rm -rf "$dir/debs"
}

# Runs a command in the root, without being root where namespaces are to be had
in_root() {
	touch "$dir/root/dev/null"
	if unshare -rm true 2>/dev/null; then
		# shellcheck disable=SC2016	# for the inner shell
		unshare -rm sh -c 'mount --bind /dev/null "$1/dev/null" && r=$1 && shift &&
			exec chroot "$r" "$@"' sh "$dir/root" "$@"
	elif [ "$(id -u)" = 0 ]; then
		[ -c "$dir/root/dev/null" ] || {
			rm -f "$dir/root/dev/null"
			mknod -m 666 "$dir/root/dev/null" c 1 3
		}
		chroot "$dir/root" "$@"
	else
		echo "neither root nor user namespaces: cannot use the tools of $suite" >&2
		return 1
	fi
}

build_modules() {
	src=$dir/root/rig-modules
	rm -rf "$src" "$dir/modules"
	mkdir -p "$src/selftests" "$dir/modules"
	cp -R -p "$TOP/drivers" "$TOP/arch-arm64" "$src/"
	[ ! -d "$TOP/include" ] || cp -R -p "$TOP/include" "$src/"
	cp -R -p "$TOP/selftests/carveout" "$src/selftests/"
	echo 'obj-m := drivers/ selftests/carveout/' >"$src/Kbuild"
	in_root /usr/bin/env -i PATH=/usr/bin:/bin KBUILD_BUILD_TIMESTAMP=2026-01-01 \
		make -C "/usr/src/$headers" M=/rig-modules -j"$JOBS" CONFIG_DEBUG_INFO_BTF_MODULES= modules
	find "$src" -name '*.ko' -exec cp {} "$dir/modules/" \;
	[ -f "$dir/modules/carveout_heap.ko" ] || die "carveout_heap.ko was not built"
	rm -rf "$src"
}

if [ ! -f "$dir/found" ] || [ -n "${UPDATE:-}" ]; then
	quietly "looking for Debian's $which kernel" "$log" find_kernel
fi
read -r suite version headers <"$dir/found"

[ "$(cat "$dir/unpacked" 2>/dev/null)" = "$headers $version" ] || {
	rm -rf "$dir/arch" "$dir/.rig-stamp" "$dir/unpacked"
	quietly "fetching $headers $version and its tools" "$log" fetch_root
	[ "$which" != stock ] ||
		quietly "fetching the kernel of $headers" "$log" fetch_image
	echo "$headers $version" >"$dir/unpacked"
}

stamp="$headers $version $(hash_of "$TOP/drivers" "$TOP/arch-arm64" \
	"$TOP/include" "$TOP/selftests/carveout" "$0")"
[ "$(cat "$dir/.rig-stamp" 2>/dev/null)" = "$stamp" ] || {
	rm -f "$dir/.rig-stamp"
	: >"$dir/build.log"
	quietly "building the carve-out module for $which $headers" "$dir/build.log" build_modules
	echo "$stamp" >"$dir/.rig-stamp"
}

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
# a user namespace. What is built is the source package for DKMS, with the command
# that it gives DKMS.

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
	apt_bare "$release-tools"
	apt_get "$release-tools" update

	depends=$(show "$suite-arm64" "$headers" "$version" | field Depends)
	gcc=$(echo "$depends" | sed -n 's/.*\(gcc-[0-9]*\).*/\1/p')
	common=$(echo "$depends" | sed -n 's/.*\(linux-headers-[^ ,]*-common\).*/\1/p')
	kbuild=$(echo "$depends" | sed -n 's/.*\(linux-kbuild-[^ ,]*\).*/\1/p')
	cross=
	[ "$host" = arm64 ] || cross=-aarch64-linux-gnu
	unpack_root "$dir/root" "$release-tools" "$gcc$cross" "binutils$cross" \
		"$common=$version" "$kbuild=$version" make dash coreutils findutils grep mawk sed
	rm -rf "$dir/debs"
	mkdir -p "$dir/debs"
	(cd "$dir/debs" && apt_get "$suite-arm64" download "$headers=$version")
	dpkg-deb -x "$dir"/debs/*.deb "$dir/root"
	rm -rf "$dir/debs"
	ln -s mawk "$dir/root/usr/bin/awk"
	echo "$gcc" >"$dir/gcc"
}

# The image package is large, and only the kernel in it is wanted
fetch_image() {
	release=${headers#linux-headers-}
	rm -rf "$dir/debs"
	mkdir -p "$dir/debs" "$dir/arch/arm64/boot"
	(cd "$dir/debs" && apt_get "$suite-arm64" download "linux-image-$release=$version")
	dpkg-deb --fsys-tarfile "$dir"/debs/linux-image-*.deb |
		tar -xO "./boot/vmlinuz-$release" >"$dir/arch/arm64/boot/Image"
	rm -rf "$dir/debs"
}

make_in_root() {
	in_root "$dir/root" /usr/bin/env -i PATH=/usr/bin:/bin KBUILD_BUILD_TIMESTAMP=2026-01-01 \
		MAKEFLAGS="-j$JOBS CONFIG_DEBUG_INFO_BTF_MODULES=" "$@"
}

build_modules() {
	src=$dir/root/rig-modules
	rm -rf "$src" "$dir/modules" "$dir/deb"
	mkdir -p "$src/dkms" "$dir/modules"
	deb=$("$TOP/drivers/deb.sh" "$dir/deb")
	dpkg-deb -x "$deb" "$src/deb"
	for f in udev/rules.d/60-carveout-heap.rules etc/modprobe.d/carveout-heap.conf \
		etc/modules-load.d/carveout-heap.conf; do
		find "$src/deb" -path "*/$f" | grep -q . || die "$deb has no $f"
	done
	conf=$(find "$src/deb/usr/src" -name dkms.conf)
	v=${conf%/dkms.conf} v=${v##*/carveout-heap-}
	mkdir -p "$src/dkms/carveout-heap/$v"
	mv "${conf%/dkms.conf}" "$src/dkms/carveout-heap/$v/build"
	conf=$src/dkms/carveout-heap/$v/build/dkms.conf
	# What DKMS sets, and then evaluates
	command=$(kernel_source_dir=/usr/src/$headers dkms_tree=/rig-modules/dkms \
		PACKAGE_NAME=$(sed -n 's/^PACKAGE_NAME="\(.*\)"$/\1/p' "$conf") \
		PACKAGE_VERSION=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' "$conf") \
		sh -c "echo $(sed -n 's/^MAKE\[0\]=//p' "$conf")")
	# shellcheck disable=SC2086	# words
	make_in_root $command
	built=$src/dkms/carveout-heap/$v/build/$(sed -n 's/^BUILT_MODULE_LOCATION\[0\]="\(.*\)"$/\1/p' "$conf")
	cp "$built/carveout_heap.ko" "$dir/modules/"

	cp -R -p "$TOP/selftests/carveout" "$src/"
	make_in_root make -C "/usr/src/$headers" M=/rig-modules/carveout modules
	cp "$src/carveout/dmabuf_importer.ko" "$dir/modules/"
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

[ "$which" != stock ] || "$RIG/edk2.sh" >/dev/null

stamp="$headers $version $(hash_of "$TOP/drivers" "$TOP/arch-arm64" \
	"$TOP/selftests/carveout" "$0")"
[ "$(cat "$dir/.rig-stamp" 2>/dev/null)" = "$stamp" ] || {
	rm -f "$dir/.rig-stamp"
	: >"$dir/build.log"
	quietly "building the carve-out module for $which $headers" "$dir/build.log" build_modules
	echo "$stamp" >"$dir/.rig-stamp"
}

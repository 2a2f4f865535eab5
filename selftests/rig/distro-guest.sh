#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: distro-guest.sh
#
# Makes sure that a distribution's kernel for guests is in the cache, Debian's own for
# arm64 with its driver of QEMU's displays (bochs) and all modules that it depends on, in
# the order in which they are loaded, and prints the directory: vmlinuz, modules/ and
# order; and kexec.cpio, its kexec with the libraries, for the root of such a guest.
# UPDATE=1 looks for a newer one.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

suite=trixie
dir=$CACHE/distro-guest
log=$CACHE/distro-guest.log
if [ -f "$dir/source" ] && [ -f "$dir/kexec.cpio" ] && [ -z "${UPDATE:-}" ]; then
	echo "$dir"
	exit 0
fi

apt_root distro-guest arm64 "$suite"
apt_bare distro-guest
quietly "reading the package list of $suite for arm64" "$log" apt_get distro-guest update >&2
image=$(APT_CONFIG=$CACHE/apt/distro-guest/apt.conf apt-cache show linux-image-arm64 |
	sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\) (= \([^)]*\)).*/\1=\2/p' | head -n 1)
[ -n "$image" ] || die "$suite has no linux-image-arm64 for arm64"

fetch() {
	rm -rf "$dir"
	mkdir -p "$dir/deb" "$dir/all" "$dir/modules"
	(cd "$dir/deb" && apt_get distro-guest download "$image")
	sha=$(cat "$dir"/deb/*.deb | sha256sum | cut -d' ' -f1)
	dpkg-deb --fsys-tarfile "$dir"/deb/*.deb | tar -x -C "$dir/all" --wildcards \
		'./boot/vmlinuz-*' '*/kernel/drivers/gpu/drm/*' '*/kernel/drivers/video/*'
	cp "$dir"/all/boot/vmlinuz-* "$dir/vmlinuz"
	: >"$dir/order"
	module bochs
	rm -rf "$dir/all" "$dir/deb"
	unpack_root "$dir/all" distro-guest kexec-tools
	mkdir -p "$dir/root/usr/sbin" "$dir/root$libs"
	cp "$dir/all/usr/sbin/kexec" "$dir/root/usr/sbin"
	ln -s usr/lib "$dir/root/lib"
	ln -s "${libs#/usr/lib/}/ld-linux-aarch64.so.1" "$dir/root/usr/lib"
	libraries_of "$dir/all/usr/sbin/kexec"
	pack "$dir/root" "$dir/kexec.cpio"
	rm -rf "$dir/all" "$dir/root"
	printf '%s\nsha256 of the package %s\n' "$image" "$sha" >"$dir/source"
}
# module NAME: unpacked, after those that it depends on; what is not there is built in
module() {
	! grep -qx "$1" "$dir/order" || return 0
	file=$(find "$dir/all" -name "$(echo "$1" | sed 's/_/[_-]/g').ko*" | head -n 1)
	[ -n "$file" ] || {
		[ "$1" != bochs ] || die "$image has no module bochs"
		return 0
	}
	case $file in
	*.xz) xz -dc "$file" ;;
	*) cat "$file" ;;
	esac >"$dir/modules/$1.ko"
	for m in $(strings "$dir/modules/$1.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do
		module "$m"
	done
	echo "$1" >>"$dir/order"
}
libs=/usr/lib/aarch64-linux-gnu
# libraries_of FILE: what it loads, and what that does
libraries_of() {
	for l in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
		[ ! -f "$dir/root$libs/$l" ] || continue
		cp -L "$dir/all$libs/$l" "$dir/root$libs"
		libraries_of "$dir/all$libs/$l"
	done
}
quietly "fetching $image for guests" "$log" fetch >&2
echo "$dir"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes the archive that gives the rig's machine a real VMM: Debian's own arm64
# qemu-system-aarch64 and device-tree tools with all they depend on, from a
# private apt root, signatures checked, unpacked, no maintainer script run. Only
# the boots that are given vmm.cpio have it. Prints which version, with the
# checksum of the packages. UPDATE=1 looks for a newer one.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

# The release whose backports have the base kernel; its QEMU is 10.0.
suite=trixie
dir=$CACHE/vmm
log=$CACHE/vmm.log

if [ -f "$dir/source" ] && [ -z "${UPDATE:-}" ]; then
	cat "$dir/source"
	exit 0
fi

apt_root vmm arm64 "$suite"
archives=$CACHE/apt/vmm/archives
fetch() {
	apt_get vmm clean
	apt_get vmm install --download-only -y --no-install-recommends \
		qemu-system-arm device-tree-compiler
}
quietly "reading the package list of $suite for arm64" "$log" apt_get vmm update
version=$(apt_version vmm qemu-system-arm)
[ -n "$version" ] || die "$suite has no qemu-system-arm for arm64"
quietly "fetching qemu-system-arm $version for arm64" "$log" fetch

# Not needed: what people read, and the emulator of 32-bit machines
unpack() {
	rm -rf "$dir"
	mkdir -p "$dir/root"
	for deb in "$archives"/*.deb; do
		dpkg-deb -x "$deb" "$dir/root"
	done
	(cd "$dir/root/usr" && rm -rf share/doc share/man share/locale \
		share/lintian bin/qemu-system-arm)
	# what the package base-files would bring: the interpreter is looked
	# for in /lib
	[ -e "$dir/root/lib" ] || ln -s usr/lib "$dir/root/lib"
	[ -x "$dir/root/usr/bin/qemu-system-aarch64" ]
	(cd "$dir/root" && find . | sort |
		cpio -o -H newc -R 0:0 --quiet --reproducible) >"$dir/vmm.cpio"
	rm -rf "$dir/root"
}
quietly "unpacking $(find "$archives" -name '*.deb' | wc -l) packages" "$log" unpack
cat >"$dir/source" <<END
qemu-system-arm $version for arm64 from $suite
sha256 of its packages $(cd "$archives" && sha256sum -- *.deb | sha256sum | cut -d' ' -f1)
END
apt_get vmm clean
cat "$dir/source"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: tools.sh [package] [chroot] [emulator] [qtest] [kernel-deb] [ssh]
#
# Makes sure that the tools are there, with "package" those of the checks and of the
# Debian package as well, with "chroot" those that try it, with "emulator" those that
# build QEMU, with "qtest" what its own tests want besides, with "kernel-deb" those of the
# kernel's bindeb-pkg, with "ssh" what reaches a machine with a disk: as root on Debian
# missing packages are installed, anywhere else the one command that would is printed.
# Does nothing, quickly, when nothing is missing.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"

missing=
need() {
	missing="$missing $1"
}
have() {
	command -v "$1" >/dev/null 2>&1
}

# command package
while read -r cmd pkg; do
	have "$cmd" || need "$pkg"
done <<END
git git
make make
gcc gcc
bc bc
bison bison
flex flex
cpio cpio
xz xz-utils
rsync rsync
perl perl
python3 python3
setpriv util-linux
patch patch
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
ccache ccache
sparse sparse
shellcheck shellcheck
dtc device-tree-compiler
dpkg-source dpkg-dev
END
# Debian's python3, not another one that comes before it
python_has() { /usr/bin/python3 -c "import $1" 2>/dev/null; }
wanted=" $* "
case $wanted in *' package '*)
	have dh || need debhelper
	have dh_dkms || need dh-dkms
	python_has ply || need python3-ply
	python_has git || need python3-git
	;;
esac
case $wanted in *' chroot '*)
	have mmdebstrap || need mmdebstrap
	have lintian || need lintian
	# Root needs no help to have more than one user in a namespace
	[ "$(id -u)" = 0 ] || have newuidmap || need uidmap
	;;
esac
case $wanted in *' ssh '*)
	have ssh || need openssh-client
	have mke2fs || need e2fsprogs
	;;
esac
newer=
case $wanted in *' emulator '*)
	have ninja || need ninja-build
	have pkg-config || need pkg-config
	python_has ensurepip || need python3-venv
	for f in glib-2.0:libglib2.0-dev pixman-1:libpixman-1-dev zlib:zlib1g-dev; do
		pkg-config --exists "${f%:*}" 2>/dev/null || need "${f#*:}"
	done
	[ -e /usr/include/libfdt.h ] || need libfdt-dev
	# QEMU wants 1.5; Debian 12 has it in its backports
	dpkg --compare-versions "$(/usr/bin/meson --version 2>/dev/null || echo 0)" ge 1.5 ||
		newer=meson
	;;
esac
case $wanted in *' qtest '*)
	# qxl is not compiled without; the firmware is not in the source package
	pkg-config --exists spice-server 2>/dev/null || need libspice-server-dev
	[ -e /usr/share/seabios/bios-256k.bin ] || need seabios
	[ -e /usr/share/qemu/kvmvapic.bin ] || need qemu-system-data
	[ -e /usr/lib/ipxe/qemu/efi-virtio.rom ] || need ipxe-qemu
	;;
esac
case $wanted in *' kernel-deb '*)
	have dh || need debhelper
	[ -x /sbin/depmod ] || [ -x /usr/sbin/depmod ] || need kmod
	have zstd || need zstd
	[ -e /usr/include/elfutils/libdw.h ] || need libdw-dev
	[ -z "${DEBUG:-}" ] || have pahole || need dwarves
	;;
esac
# What is in a package without a command: a file that it must have brought.
for f in /usr/include/stdlib.h:libc6-dev \
	/usr/include/gelf.h:libelf-dev \
	/usr/include/openssl/ssl.h:libssl-dev \
	/usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring; do
	[ -e "${f%:*}" ] || need "${f#*:}"
done
[ "$(uname -m)" = x86_64 ] || have x86_64-linux-gnu-gcc ||
	need gcc-x86-64-linux-gnu
[ "$(uname -m)" = aarch64 ] || [ -e /usr/aarch64-linux-gnu/lib/libc.a ] ||
	need libc6-dev-arm64-cross

qemu_version() {
	qemu-system-aarch64 --version 2>/dev/null |
		sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'
}
qemu=$(qemu_version)
[ -n "$missing$newer" ] || [ "${qemu:-0}" -lt 9 ] || exit 0

debian=
if [ -r /etc/os-release ]; then
	debian=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || :
fi
[ "${qemu:-0}" -ge 9 ] || echo "QEMU 9.0 or later is needed (memory-type" \
	"alignment faults); here is ${qemu:-none}${qemu:+.x}"

[ -n "$debian" ] || die "install these (Debian's names), then run again:" \
	"$missing ${newer:+meson (>= 1.5)} qemu-system-arm (>= 9.0)"
# Debian 12 has QEMU 7.2 and meson 1.0 of its own, newer ones in its backports
[ "${qemu:-0}" -ge 9 ] || newer="$newer qemu-system-arm"
if [ "$(id -u)" != 0 ]; then
	for p in $newer; do
		[ "$debian" != bookworm ] || p=$p/$debian-backports
		missing="$missing $p"
	done
	echo "Run this as root, then run again" \
		"(${debian}-backports must be among apt's sources where it is named):" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
arch=$(dpkg --print-architecture)
apt_root tools "$arch" "$debian" "$debian-updates" "$debian-backports"
quietly "reading Debian's package lists" "$CACHE/tools.log" apt_get tools update
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086	# a list of package names
	quietly "installing:$missing" "$CACHE/tools.log" \
		apt_get tools install -y --no-install-recommends $missing
fi
for p in $newer; do
	suite=$debian
	case $p:$(apt_version tools "$p") in
	qemu-system-arm:1:[0-8].* | meson:0.* | meson:1.[0-4].*) suite=$debian-backports ;;
	esac
	quietly "installing $p from $suite" "$CACHE/tools.log" \
		apt_get tools install -y --no-install-recommends -t "$suite" "$p"
done
[ "$(qemu_version)" -ge 9 ] ||
	die "QEMU 9.0 or later is needed, here is $(qemu_version).x"

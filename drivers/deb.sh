#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: deb.sh <directory>
#
# Builds the Debian package of the module's source (DKMS) from this tree and
# leaves it in <directory>. Version and maintainer are those of the last commit, or
# nothing much where there is no git.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
out=$1
for tool in dh dh_dkms; do
	command -v "$tool" >/dev/null || {
		echo "deb.sh: $tool is missing: apt-get install debhelper dh-dkms" >&2
		exit 1
	}
done

# The rig takes the user's configuration away, and a safe.directory with it
last() {
	git -c safe.directory="$top" -C "$top" log -1 "$@" 2>/dev/null
}
version=0.$(last --format=%cd --date=format:%Y%m%d.%H%M%S || echo 0)
maintainer=$(last --format='%an <%ae>' || echo "$(id -un) <root@localhost>")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

src=$tmp/carveout-heap-$version
mkdir -p "$src/Documentation" "$src/arch-arm64" "$out"
# Nothing that a build has left
(cd "$top/Documentation" &&
	cp -R carveout-heap.rst carveout-boards.rst real-vmm.rst qemu.rst bench.txt devicetree \
		"$src/Documentation")
(cd "$top" && find drivers arch-arm64 -type f \
	! -name '*.o' ! -name '*.ko' ! -name '*.mod' ! -name '*.mod.c' ! -name '.*' \
	! -name modules.order ! -name Module.symvers |
	cpio -pdm --quiet "$src")
mv "$src/drivers/debian" "$src/debian"
mv "$src/drivers/dkms.conf" "$src/debian/carveout-heap-dkms.dkms"
# Not by dh_installudev, which puts it into /lib on Debian 12: an alias, in later ones
mv "$src/drivers/60-carveout-heap.rules" "$src/"
mv "$src/drivers/overlay.sh" "$src/"
# Not loaded, and no options, until somebody says so
mkdir "$src/modprobe.d" "$src/modules-load.d"
mv "$src/drivers/modprobe.conf" "$src/modprobe.d/carveout-heap.conf"
mv "$src/drivers/modules-load.conf" "$src/modules-load.d/carveout-heap.conf"
rm "$src/drivers/deb.sh"
sed -i "s|@MAINTAINER@|$maintainer|; s|@VERSION@|$version|" "$src"/debian/*
cat >"$src/debian/changelog" <<END
carveout-heap ($version) unstable; urgency=medium

  * Built from commit $(last --format=%h || echo unknown).

 -- $maintainer  $(last --format=%cD || date -R)
END
chmod 755 "$src/debian/rules"

(cd "$src" && dpkg-buildpackage -us -uc -b -d) >"$tmp/log" 2>&1 || {
	cat "$tmp/log" >&2
	exit 1
}
cp "$tmp"/*.deb "$out/"
echo "$out/carveout-heap-dkms_${version}_all.deb"

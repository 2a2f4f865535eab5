#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes sure that the newest source package of QEMU_RELEASE (see lib.sh), with the
# distribution's patches applied, is unpacked in the cache, and prints the directory;
# what it is, with the checksums, is in the file source beside it. It comes by a private
# apt root, as the base kernel does: the archive's signature says which .dsc, and that
# which tarballs. Nobody builds in that directory or changes it. A release that is there
# already is used again; UPDATE=1 looks for a newer package.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

dir=$CACHE/qemu-source/$QEMU_RELEASE
log=$CACHE/qemu-source/$QEMU_RELEASE.log

if [ -f "$dir/source" ] && [ -z "${UPDATE:-}" ]; then
	echo "$dir/qemu"
	exit 0
fi

# trixie has 10.0 as long as it lives
apt_source_root qemu-source trixie trixie-backports sid
quietly "reading the lists of source packages" "$log" apt_get qemu-source update >&2
version=$(APT_CONFIG=$CACHE/apt/qemu-source/apt.conf \
	apt-cache showsrc --only-source qemu |
	sed -n "s/^Version: \(\([0-9]*:\)\{0,1\}$(echo "$QEMU_RELEASE" | sed 's/\./\\./g')[.+].*\)/\1/p" |
	while read -r v; do
		[ -n "${best:-}" ] && dpkg --compare-versions "$v" lt "$best" || best=$v
		echo "$best"
	done | tail -n 1)
[ -n "$version" ] || die "no source package of QEMU $QEMU_RELEASE in trixie, trixie-backports or sid"

# The file names of a package have no epoch
name=qemu_${version#*:}
fetch() { (cd "$CACHE/dl" && apt_get qemu-source source --download-only --only-source "qemu=$version"); }
mkdir -p "$CACHE/dl"
# Those that are there already are checked again
quietly "fetching the source package of QEMU $version" "$log" fetch >&2
[ -f "$CACHE/dl/$name.dsc" ] || die "apt-get did not leave $name.dsc"

what="qemu $version, source package
sha256 of its .dsc $(sha256sum <"$CACHE/dl/$name.dsc" | cut -d' ' -f1)"
if [ -f "$dir/source" ] && [ "$(cat "$dir/source")" = "$what" ]; then
	echo "$dir/qemu"
	exit 0
fi
# The tarballs are compared once more with the checksums of the .dsc. The signature in
# it, of who uploaded the package, is not what this rests on: dpkg-source only warns
# where the keyring of Debian's developers is missing.
unpack() {
	rm -rf "$dir"
	mkdir -p "$dir"
	dpkg-source -x "$CACHE/dl/$name.dsc" "$dir/qemu"
}
quietly "unpacking QEMU $version" "$log" unpack >&2
echo "$what" >"$dir/source"
echo "$dir/qemu"

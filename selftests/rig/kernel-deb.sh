#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make kernel-deb CONFIG=/boot/config-... [SERIES=...] [KERNEL=/path] [DEBUG=1]: the patched
# kernel as Debian packages, for a board, from the configuration of the kernel that the
# board runs; that, or /proc/config.gz, is to be copied here. Cross-built by the kernel's
# own bindeb-pkg. The release ends in -memtype: the packages are installed beside the
# board's own kernel and take nothing from it. DEBUG=1 keeps the debug information, of which a
# distribution's configuration has gigabytes, in a package of its own that is not installed.
#
# It has a work tree and a build directory of its own: the gates go from one commit to
# another in the rig's, and whatever they had touched would be compiled again.
# RIG_ONLY=configuration ends when that is made.

. "$(dirname "$0")/lib.sh"

example='make kernel-deb CONFIG=/path/to/the/board/s/boot/config-...'
[ -n "${CONFIG:-}" ] ||
	die "which configuration? $example; a board without that file may have /proc/config.gz"
if [ ! -f "$CONFIG" ] || [ ! -r "$CONFIG" ]; then
	die "CONFIG=$CONFIG: there is no such file, or it cannot be read"
fi

dir=$W/kernel-deb
tree=$dir/tree out=$dir/$BUILD log=$LOGS/kernel-deb.log debs=$CACHE/kernel-deb
configs=$TOP/arch-arm64/configs
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

given=$tmp/given
if gzip -t "$CONFIG" 2>/dev/null; then
	gzip -dc "$CONFIG"
else
	cat "$CONFIG"
fi | tr -d '\000\r' >"$given"
if ! grep -q '^CONFIG_[A-Za-z0-9_]*=' "$given" ||
	grep -qv '^CONFIG_[A-Za-z0-9_]*=\|^#\|^ *$' "$given"; then
	die "CONFIG=$CONFIG is not a kernel configuration (a .config, or /boot/config-...)"
fi
grep -qx CONFIG_ARM64=y "$given" ||
	die "CONFIG=$CONFIG is not for arm64$(sed -n 's|^# Linux/\([a-z0-9_]*\) .*|, but for \1|p' "$given" | head -n 1)"

"$RIG/tools.sh" kernel-deb
lock
RIG_QUIET=1 "$RIG/base.sh"
mkdir -p "$dir" "$out" "$debs" "$LOGS"
: >"$log"
applied=$("$RIG/tree.sh" apply)
commit=$(git -C "$applied" rev-parse "refs/rig/$SERIES")
add() {
	git -C "$W/src" worktree prune
	git -C "$W/src" worktree add -q --detach "$tree" "$commit"
}
[ -d "$tree" ] || quietly "making a work tree for packages" "$log" add
git -C "$tree" checkout -q -f --detach "$commit"

# Image: that is what /boot has on Debian. Not every boot loader unpacks an Image.gz.
kmake() {
	kernel_make "$tree" "$out" arm64 LOCALVERSION=-memtype \
		KBUILD_IMAGE=arch/arm64/boot/Image "$@"
}

fragments=$configs/deb.config
[ -n "${DEBUG:-}" ] || fragments="$fragments $configs/deb-nodebug.config"
for s in $(series_upto); do
	[ ! -f "$configs/$s.config" ] || fragments="$fragments $configs/$s.config"
done
configure() {
	cp "$given" "$out/.config"
	# shellcheck disable=SC2086	# file names of ours, without blanks
	(cd "$out" && "$tree/scripts/kconfig/merge_config.sh" -m -O . .config $fragments)
	kmake olddefconfig
}
quietly "configuring the kernel" "$log" configure

grep -qx CONFIG_KVM=y "$given" ||
	say "$CONFIG has no CONFIG_KVM=y: the board's own kernel is without KVM, this one is with it"
grep -qx CONFIG_KVM=y "$out/.config" ||
	die "CONFIG_KVM=y does not survive in this configuration, see $log; without KVM" \
		"there is nothing in the series for this board"
# missing FILE...: options that are y or m there, and not in this kernel
missing() {
	sed -n 's/^\(CONFIG_[^=]*\)=[ym]$/\1/p' "$out/.config" >"$tmp/on"
	sed -n 's/^\(CONFIG_[^=]*\)=[ym]$/\1/p' "$@" | grep -vxFf "$tmp/on" || :
}
# shellcheck disable=SC2086
lost=$(missing $fragments | tr '\n' ' ')
[ -z "$lost" ] || say "left out, as this configuration has not what they need: $lost"
# Of a vendor's kernel, of another compiler, and what the fragments switch off
gone=$LOGS/kernel-deb.gone
missing "$given" >"$gone"
[ ! -s "$gone" ] ||
	say "$(wc -l <"$gone") options of $(basename "$CONFIG") are on there and not in this kernel: $gone"
[ -z "${RIG_ONLY:-}" ] || {
	echo "$out/.config"
	exit 0
}

release=$(kmake --no-print-directory kernelrelease)
# As a package's version that of the last commit here, so that apt sees a newer one
last=$(git -c safe.directory="$TOP" -C "$TOP" log -1 --format=%cd --date=format:%Y%m%d.%H%M%S \
	2>/dev/null || echo 1)
version=$(kmake --no-print-directory kernelversion | sed 's/-\(rc[1-9]\)/~\1/')-$last
package() {
	rm -f "$dir"/*.deb "$dir"/*.changes "$dir"/*.buildinfo
	# -d: it asks for arm64's libssl-dev, for a program that signs modules
	kmake KDEB_PKGVERSION="$version" KDEB_CHANGELOG_DIST=unstable DPKG_FLAGS=-d bindeb-pkg
	# What programs are compiled with is the distribution's
	rm -f "$dir"/linux-libc-dev_*.deb
	mv "$dir"/*.deb "$debs/"
}
quietly "building $release and its packages" "$log" package

image=linux-image-$release headers=linux-headers-$release
[ -f "$debs/${image}_${version}_arm64.deb" ] || die "there is no package $image: $log"
# A kernel without modules has no headers package
names="${image}_${version}_arm64.deb" both=$image
[ ! -f "$debs/${headers}_${version}_arm64.deb" ] || {
	names="$names ${headers}_${version}_arm64.deb"
	both="$both $headers"
}
for n in $names; do
	echo "$debs/$n"
done
cat <<END
On the board, as root, in the directory with these files. With GRUB, first, or the kernel
becomes what each reset boots:
  echo GRUB_DEFAULT=saved >/etc/default/grub.d/memtype.cfg
  grub-set-default "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux \$(uname -r)"
Then, with update-grub, which dpkg calls:
  dpkg -i $names
  grub-reboot "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux $release"; reboot
To go back:
  reboot
  dpkg -P $both; rm /etc/default/grub.d/memtype.cfg; update-grub
(grub-reboot is for one boot. For boards without GRUB see Documentation/board-*.rst. Secure
Boot does not start this kernel.)
END

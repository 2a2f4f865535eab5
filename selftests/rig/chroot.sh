# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Sourced by the scripts that make a root file system of Debian's for arm64, or try
# something in one: its programs are run by qemu-user (or natively, on arm64). That, its
# registration and all processes are in namespaces of their own, of a user who need not be
# root, and go away with them. The script is called again in there: its command "init" has
# to come to init(). In there $mnt is theirs alone.

: "${mnt:=/mnt}"
# Of what it emulates, one that has no pointer authentication, which is slow
export QEMU_CPU=neoverse-n1

# Has a static qemu-aarch64, from Debian 13 whatever this is. Not installed, as that
# would register it for all of this system.
get_emulator() {
	[ "$(uname -m)" != aarch64 ] && [ ! -x "$CACHE/qemu-user/qemu-aarch64" ] || return 0
	quietly "fetching qemu-user" "$LOGS/qemu-user.log" fetch_emulator
}
fetch_emulator() {
	rm -rf "$CACHE/qemu-user/dl"
	mkdir -p "$CACHE/qemu-user/dl"
	apt_root qemu-user "$(dpkg --print-architecture)" trixie
	apt_bare qemu-user
	apt_get qemu-user update
	(cd "$CACHE/qemu-user/dl" && apt_get qemu-user download qemu-user)
	dpkg-deb --fsys-tarfile "$CACHE"/qemu-user/dl/qemu-user_*.deb |
		tar -xO ./usr/bin/qemu-aarch64 >"$CACHE/qemu-user/qemu-aarch64.new"
	rm -rf "$CACHE/qemu-user/dl"
	chmod 755 "$CACHE/qemu-user/qemu-aarch64.new"
	mv "$CACHE/qemu-user/qemu-aarch64.new" "$CACHE/qemu-user/qemu-aarch64"
}

# in_namespaces COMMAND...: runs this script as root and first process of new user,
# mount and PID namespaces. A user's root is the user, the others are of
# /etc/subuid; for root, who may not be in there, all are who they are.
in_namespaces() {
	set -- unshare --mount --pid --fork --kill-child "$RIG/$(basename "$0")" init "$@"
	if [ "$(id -u)" != 0 ]; then
		unshare --user --map-auto --map-root-user "$@"
		return
	fi
	# shellcheck disable=SC2016	# for the inner shell
	unshare --user sh -c 'until [ -n "$(cat /proc/self/uid_map)" ] &&
		[ -n "$(cat /proc/self/gid_map)" ]; do sleep 0.1; done; exec "$@"' sh "$@" &
	until [ "$(readlink "/proc/$!/ns/user")" != "$(readlink /proc/self/ns/user)" ]; do
		sleep 0.1
	done
	echo 0 0 65536 >"/proc/$!/uid_map"
	echo 0 0 65536 >"/proc/$!/gid_map"
	wait $!
}

# The first process. /proc is still that of outside: who has started this, or has
# been interrupted, has gone from there, and with the first process all of them end.
init() {
	[ $$ = 1 ] || die "init: not in a namespace"
	mount -t tmpfs -o mode=755,size=8g tmpfs "$mnt"
	mkdir "$mnt/root" "$mnt/tmp" "$mnt/binfmt"
	if [ "$(uname -m)" != aarch64 ]; then
		mount -t binfmt_misc binfmt_misc "$mnt/binfmt"
		printf '%s' ':aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$CACHE/qemu-user/qemu-aarch64:F" \
			>"$mnt/binfmt/register"
	fi
	(
		r=0
		"$RIG/$(basename "$0")" "$@" || r=$?
		echo $r >"$mnt/rc"
	) &
	until [ -s "$mnt/rc" ]; do
		[ -d "/proc/$RIG_PID" ] || exit 130
		sleep 0.5
	done
	exit "$(cat "$mnt/rc")"
}

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes the git tree of the base kernel: the newest linux-source package of the
# series that patches/bases names, or KERNEL=/path, as one commit. Prints which
# version, with its checksum. A tree that is there already is used again;
# UPDATE=1 looks for a newer package.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

if [ -f "$W/source" ] && [ -z "${UPDATE:-}" ]; then
	[ -n "${RIG_QUIET:-}" ] || cat "$W/source"
	exit 0
fi
mkdir -p "$W"

if [ -n "${KERNEL:-}" ]; then
	what="$KERNEL"
	if git -C "$KERNEL" rev-parse -q --verify HEAD >/dev/null 2>&1; then
		what="$what at $(git -C "$KERNEL" rev-parse HEAD)"
		[ -z "$(git -C "$KERNEL" status --porcelain -uno)" ] ||
			say "$KERNEL has uncommitted changes: HEAD is taken, without them"
	fi
	unpack() {
		if git -C "$KERNEL" rev-parse -q --verify HEAD >/dev/null 2>&1; then
			git -C "$KERNEL" archive HEAD
		else
			tar -C "$KERNEL" -c --exclude-vcs --exclude='*.o' \
				--exclude='./build*' .
		fi | tar -C "$W/src" -x
	}
else
	# shellcheck disable=SC2046	# two words
	set -- $(awk -v b="$BASE" '$1 == b { print $2, $3 }' "$TOP/patches/bases")
	[ $# = 2 ] || die "patches/bases has no line for BASE=$BASE"
	pkg=$1 suite=$2
	apt_root "$suite" "$(dpkg --print-architecture)" "$suite"
	quietly "reading the package list of $suite" "$W/base.log" apt_get "$suite" update
	version=$(apt_version "$suite" "$pkg")
	[ -n "$version" ] || die "$suite has no package $pkg"
	what="$pkg $version from $suite"
	mkdir -p "$CACHE/dl"
	deb=$CACHE/dl/${pkg}_$(echo "$version" | sed 's/:/%3a/g')_all.deb
	fetch() { (cd "$CACHE/dl" && apt_get "$suite" download "$pkg=$version"); }
	[ -f "$deb" ] || quietly "fetching $pkg $version" "$W/base.log" fetch
	[ -f "$deb" ] || die "apt-get did not leave $deb"
	what="$what
sha256 $(sha256sum <"$deb" | cut -d' ' -f1)"
	unpack() {
		dpkg-deb --fsys-tarfile "$deb" |
			tar -xO --wildcards './usr/src/linux-source-*.tar.*' |
			xz -dc | tar -C "$W/src" -x --strip-components=1
	}
fi

if [ -f "$W/source" ] && [ "$(cat "$W/source")" = "$what" ]; then
	echo "$what"
	exit 0
fi
# A newer base: everything that was made from the old one goes.
rm -rf "$W/src" "$W/apply" "$W/patched" "$W/kernel-deb" "$W/source" "$W/stamps"
[ ! -e "$W/tree" ] || die "$W/tree is made from another base kernel:" \
	"export what it holds, remove it, run again"

mkdir -p "$W/src"
quietly "unpacking $(echo "$what" | head -n 1)" "$W/base.log" unpack

# Fixed author and dates: the same source gives the same commit everywhere, so
# the series' base-commit means something.
commit() {
	git -C "$W/src" init -q -b base
	git -C "$W/src" config gc.auto 0
	git -C "$W/src" add -A -f .
	v=$(make -s --no-print-directory -C "$W/src" kernelversion)
	GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost \
	GIT_COMMITTER_NAME=base GIT_COMMITTER_EMAIL=base@localhost \
	GIT_AUTHOR_DATE='2000-01-01T00:00:00+0000' \
	GIT_COMMITTER_DATE='2000-01-01T00:00:00+0000' \
		git -C "$W/src" commit -q -m "Linux $v"
	printf '/build*/\n' >>"$W/src/.git/info/exclude"
}
quietly "making the base commit" "$W/base.log" commit
echo "$what" >"$W/source"
cat "$W/source"

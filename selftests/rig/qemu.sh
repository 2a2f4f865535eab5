#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: qemu.sh [tree | export [directory] | configure directory]
#
# make qemu: cross-builds the VMM of patches/qemu-10.0 for arm64, which is the
# distribution's QEMU source with that series, and prints where it is. It has KVM, the
# devices of the Arm virtual machine, VNC and no TCG, and wants glib, pixman, libfdt and
# zlib of the machine that it runs on. It is built again when source, series or
# compiler change; ccache makes the next one quick.
#
# "tree" makes a git tree of the source with the series as the branch memtype, to edit
# with git, and prints where it is; "export" writes the branch back to the series, or to
# a directory, as export.sh does for the kernel's: the text of the cover letter is kept.
# "configure" is for qemu-test.sh: it makes directory/build for directory/src what the
# build of "make qemu" is.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
. "$(dirname "$0")/cover.sh"
mode=${1:-build}
case $mode in
build | tree | export | configure) ;;
*) die "tree, export or configure?" ;;
esac
lock

series=$TOP/patches/qemu-$QEMU_RELEASE
dir=$CACHE/qemu
log=$CACHE/qemu.log
mkdir -p "$dir"
source=$("$RIG/qemu-source.sh")
what=$(cat "${source%/*}/source")

patches() { find "$series" -maxdepth 1 -name '[0-9]*.patch' ! -name '0000-*' | sort; }
key_of_series() {
	echo "$(echo "$what" | sha256sum | cut -c1-16) $(patches | xargs -d '\n' cat | sha256sum | cut -c1-16)"
}
key=$(key_of_series)
# unexported: does the work tree have what is in no patch? Without tree.key, it is what
# an apply() that was stopped has left there
unexported() {
	[ -d "$dir/tree" ] && [ -f "$dir/tree.key" ] && {
		[ "$(git -C "$dir/tree" rev-parse memtype)" != "$(cat "$dir/tree.exported")" ] ||
			[ -n "$(git -C "$dir/tree" status --porcelain -uno)" ]
	}
}

# The source as one commit, the same everywhere, without what only the packaging has
repository() {
	rm -rf "$dir/git" "$dir/tree" "$dir/src" "$dir/base"
	cp -R -p "$source" "$dir/git"
	rm -rf "$dir/git/debian" "$dir/git/.pc"
	git init -q -b base "$dir/git"
	git -C "$dir/git" config gc.auto 0
	git -C "$dir/git" add -f -A
	GIT_AUTHOR_NAME=series GIT_AUTHOR_EMAIL=series@localhost GIT_AUTHOR_DATE=2026-01-01T00:00:00Z \
		GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
		GIT_COMMITTER_DATE=2026-01-01T00:00:00Z git -C "$dir/git" commit -q -m "$what"
	echo "$what" >"$dir/base"
}
[ "$(cat "$dir/base" 2>/dev/null)" = "$what" ] || {
	! unexported || die "QEMU's source is another one, and $dir/tree has work that is not exported"
	quietly "making a repository of QEMU's source" "$log" repository >&2
}

# apply DIRECTORY: a work tree with the series as commits; git am takes no fuzz
apply() {
	[ -d "$1" ] || {
		git -C "$dir/git" worktree prune
		git -C "$dir/git" worktree add -q --detach "$1" base >&2
	}
	git -C "$1" am --abort >/dev/null 2>&1 || :
	git -C "$1" checkout -q -f --detach base
	for p in $(patches); do
		GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
			git -C "$1" am -q --committer-date-is-author-date "$p" >"$log" 2>&1 || {
			git -C "$1" am --abort >/dev/null 2>&1 || :
			why_not "$1" "$p" "$log" "$(echo "$what" | head -n 1)"
			exit 1
		}
	done
}

tree() {
	if unexported; then
		say "$dir/tree has work that is not exported: left as it is" >&2
	elif [ ! -d "$dir/tree" ] || [ "$(cat "$dir/tree.key" 2>/dev/null)" != "$key" ]; then
		rm -f "$dir/tree.key"
		apply "$dir/tree"
		git -C "$dir/tree" checkout -q -B memtype
		git -C "$dir/tree" rev-parse memtype >"$dir/tree.exported"
		echo "$key" >"$dir/tree.key"
	fi
	echo "$dir/tree"
}

export_to() {
	from=${TREE:-$dir/tree}
	[ -d "$from" ] || die "there is no $from: 'make qemu-tree' makes it"
	git -C "$from" merge-base --is-ancestor base memtype 2>/dev/null ||
		die "$from has no branch memtype on top of base"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM HUP
	GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
		git -C "$from" -c core.abbrev=12 -c core.quotePath=false format-patch -q \
		--numbered --cover-letter --zero-commit --no-signature --base=base \
		-o "$tmp" base..memtype
	keep_cover "$series/0000-cover-letter.patch" "$tmp/0000-cover-letter.patch" "$from" memtype
	mkdir -p "$1"
	find "$1" -maxdepth 1 -name '[0-9]*.patch' -delete
	cp "$tmp"/*.patch "$1"
	if [ "$from" = "$dir/tree" ] && [ "$1" = "$series" ]; then
		git -C "$from" rev-parse memtype >"$dir/tree.exported"
		key_of_series >"$dir/tree.key"
	fi
	echo "$1: $(find "$1" -name '[0-9]*.patch' ! -name '0000-*' | wc -l) patches"
}

case $mode in
tree)
	tree
	exit
	;;
export)
	export_to "${2:-$series}"
	exit
	;;
esac

cross=aarch64-linux-gnu-
stamp="$key $(hash_of "$0") $(${cross}gcc --version | head -n 1)"
[ "$mode" = configure ] || [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ] || {
	echo "$dir/qemu-system-aarch64"
	exit 0
}
"$RIG/tools.sh" emulator >&2

# What it is linked with: headers and libraries of this system's suite, whose compiler
# and C library are used, for arm64. The names of the libraries' own packages are those
# that the development packages depend on in their very version.
root=$dir/root
sysroot() {
	rm -rf "$root"
	dev='libglib2.0-dev libpcre2-dev libffi-dev zlib1g-dev libpixman-1-dev libfdt-dev'
	# shellcheck disable=SC2086	# a list
	unpack_arm64 "$root" $dev
	for p in $dev; do
		dpkg-deb -f "$CACHE/dl/${p}"_*_arm64.deb Depends | tr ',' '\n' |
			sed -n 's/^ *\(lib[^ ]*\|zlib[^ ]*\) (= .*/\1/p' |
			grep -v -e '-dev$' -e '-bin$' -e '-posix' || :
	done | sort -u >"$dir/libraries"
	# shellcheck disable=SC2046	# a list
	unpack_arm64 "$root" $(cat "$dir/libraries")
	# configure looks for a pkg-config with the compiler's prefix
	cat >"$root/${cross}pkg-config" <<-END
		#!/bin/sh
		PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH= \\
		PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig \\
			exec pkg-config "\$@"
	END
	chmod 755 "$root/${cross}pkg-config"
}
# The one machine, with the devices that PCI has by default. (minimal.mak has another
# machine, which is TCG's, and --without-default-devices leaves symbols undefined.)
configure() {
	rm -rf "$1/build"
	mkdir "$1/build"
	echo CONFIG_ARM_VIRT=y >"$1/src/configs/devices/aarch64-softmmu/rig.mak"
	lib=$root/usr/lib/aarch64-linux-gnu
	(cd "$1/build" && PATH="$root:$PATH" CCACHE_BASEDIR=$1 ../src/configure \
		--cc="ccache ${cross}gcc" --host-cc="ccache gcc" --cross-prefix=$cross \
		--python=/usr/bin/python3 --prefix=/usr --target-list=aarch64-softmmu \
		--with-devices-aarch64=rig --without-default-features --disable-tcg \
		--enable-kvm --enable-vnc --enable-pixman --enable-fdt=system --enable-werror \
		--disable-download --disable-install-blobs --disable-debug-info \
		--with-pkgversion="$(basename "$series")" \
		--extra-cflags="-idirafter $root/usr/include" \
		--extra-ldflags="-L$lib -Wl,-rpath-link,$lib")
}
build() {
	CCACHE_BASEDIR=$dir ninja -C "$dir/build" -j "$JOBS" qemu-system-aarch64
	${cross}strip -o "$dir/qemu-system-aarch64" "$dir/build/qemu-system-aarch64"
}
[ "$mode" = configure ] || {
	rm -f "$dir/stamp"
	: >"$log"
}
if [ ! -x "$root/${cross}pkg-config" ] || [ -n "${UPDATE:-}" ]; then
	quietly "fetching what QEMU is linked with, for arm64" "$log" sysroot >&2
fi
[ "$mode" != configure ] || {
	configure "$2"
	exit
}
quietly "applying QEMU's series" "$log" apply "$dir/src" >&2
quietly "configuring QEMU" "$log" configure "$dir" >&2
quietly "building QEMU" "$log" build >&2
echo "$stamp" >"$dir/stamp"
echo "$dir/qemu-system-aarch64"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: build.sh unpatched|patched [commit]
#
# Builds a kernel with its modules, headers and KVM selftests, and our
# modules against it: the base kernel, or the series up to SERIES (or to COMMIT). The
# configuration is tinyconfig plus the fragments of arch-arm64/configs, every
# line of which must survive. DEBUG=1 adds debug.config, DEBUG=kcsan debug-kcsan.config,
# in a directory of its own, and PAGES=, the name of a fragment of selftests/rig/pages, another size of
# pages in another one. RIG_ONLY=: make these targets of the kernel, objects or directories
# ("selftests": KVM's and vfio's selftests), and link no kernel.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
RIG_QUIET=1 "$RIG/base.sh"
lock

which=$1
case $which in
unpatched)
	tree=$W/src
	commit=$(git -C "$tree" rev-parse base)
	;;
patched)
	tree=$W/patched
	applied=$("$RIG/tree.sh" apply)
	commit=${2:-$(git -C "$applied" rev-parse "refs/rig/$SERIES")}
	[ -d "$tree" ] || {
		add() {
			git -C "$W/src" worktree prune
			git -C "$W/src" worktree add -q --detach "$tree" base
		}
		quietly "making the build tree" "$LOGS/patched-tree.log" add
	}
	;;
*)
	die "unpatched or patched?"
	;;
esac
out=$tree/$BUILD log=$LOGS/build-$which${PAGES:+-$PAGES}.log

configs=$TOP/arch-arm64/configs
fragments=$configs/base.config
[ -z "${PAGES:-}" ] || {
	[ -f "$RIG/pages/$PAGES.config" ] || die "PAGES=$PAGES: selftests/rig/pages has" \
		"no $PAGES.config"
	fragments="$fragments $RIG/pages/$PAGES.config"
}
[ -z "$debug" ] || fragments="$fragments $configs/$debug.config"
# What must survive; the options of a series only where all of it is applied
required=$fragments
if [ "$which" = patched ]; then
	for s in $(series_upto); do
		[ -f "$configs/$s.config" ] || continue
		fragments="$fragments $configs/$s.config"
		! git -C "$W/src" merge-base --is-ancestor "refs/rig/$s" "$commit" ||
			required="$required $configs/$s.config"
	done
fi
# shellcheck disable=SC2086	# file names of ours, without blanks
config=$(hash_of $fragments)
modules=$(hash_of "$TOP/selftests/modules" "$TOP/selftests/carveout/Kbuild" \
	"$TOP"/selftests/carveout/dmabuf_importer.* "$TOP/drivers" "$TOP/include" \
	"$TOP"/arch-arm64/*.[ch] "$TOP/Kbuild")
cc=$(aarch64-linux-gnu-gcc --version | head -n 1)
# The content, whatever the commit says of it
content=$(git -C "$tree" rev-parse "$commit^{tree}")
stamp="$content $config $modules $cc"
[ "$(cat "$out/.rig-stamp" 2>/dev/null)" != "$stamp" ] || exit 0

kmake() { kernel_make "$tree" "$BUILD" arm64 "$@"; }

git -C "$tree" checkout -q -f --detach "$commit"
rm -f "$out/.rig-stamp" "$log"

configure() {
	kmake tinyconfig
	# shellcheck disable=SC2086
	(cd "$tree/$BUILD" && ../scripts/kconfig/merge_config.sh -m -O . .config $fragments)
	kmake olddefconfig
}
# Done again where a commit touches a Kconfig file. A .config with the same
# content leaves the objects alone.
mkdir -p "$out"
kconfig="$config $(git -C "$tree" log -1 --format=%H "$commit" -- '*Kconfig*')"
[ "$(cat "$out/.rig-config" 2>/dev/null)" = "$kconfig" ] || {
	rm -f "$out/.rig-config"
	quietly "configuring the $which kernel" "$log" configure
	echo "$kconfig" >"$out/.rig-config"
}
# The last word that they have of an option
# shellcheck disable=SC2086
awk '/^CONFIG_/ { o = $1; sub(/=.*/, "", o); last[o] = $0 }
	/^# CONFIG_.* is not set/ { last[$2] = $0 }
	END { for (o in last) print last[o] }' $required |
	while read -r line; do
		grep -qxF "$line" "$out/.config" || case $line in
		"# "*) # no line at all is "not set" too
			c=${line#\# } c=${c% is not set}
			! grep -q "^$c=" "$out/.config" || echo "$line"
			;;
		*)
			echo "$line"
			;;
		esac
	done >"$out/.rig-lost"
[ ! -s "$out/.rig-lost" ] || {
	cat "$out/.rig-lost" >&2
	die "the $which kernel's .config does not have these options of $configs"
}

# libvfio, which the series links KVM's tests with, is linked with libuuid
[ -f "$LIBUUID/complete" ] ||
	quietly "fetching libuuid for arm64" "$log" \
		unpack_arm64 "$LIBUUID" uuid-dev
selftests() {
	kmake headers
	# -k: a test that does not build must not take the others with it;
	# the result is then missing from the report, which fails.
	make -C "$tree/tools/testing/selftests/kvm" -s -j"$JOBS" ARCH=arm64 \
		CROSS_COMPILE=aarch64-linux-gnu- \
		CC="ccache aarch64-linux-gnu-gcc" \
		OUTPUT="$out/kvm" abs_objdir="$out/kvm" \
		LINUX_HDR_PATH="$out/usr/include" \
		KHDR_INCLUDES="-isystem $out/usr/include" \
		EXTRA_CFLAGS="$LIBUUID_CFLAGS" \
		USERLDFLAGS=-static LDFLAGS="-static $LIBUUID_LDFLAGS"
	# Of vfio's tests only those that the series adds
	sed -n 's|^vfio/||p' "$out/own-tests" | while read -r t; do
		make -C "$tree/tools/testing/selftests/vfio" -s -j"$JOBS" ARCH=arm64 \
			CROSS_COMPILE=aarch64-linux-gnu- \
			CC="ccache aarch64-linux-gnu-gcc" OUTPUT="$out/vfio" \
			KHDR_INCLUDES="-isystem $out/usr/include" \
			EXTRA_CFLAGS="$LIBUUID_CFLAGS" \
			LDFLAGS="-static $LIBUUID_LDFLAGS" "$out/vfio/$t"
	done
}
module() {
	# modules are built from a copy: nothing generated in the checkout.
	# A new one, for kbuild does not see there that the kernel's
	# configuration has changed.
	rm -rf "$out/rig-modules"
	mkdir -p "$out/rig-modules"
	for f in Kbuild drivers include arch-arm64 selftests; do
		[ ! -e "$TOP/$f" ] || cp -R -p "$TOP/$f" "$out/rig-modules/"
	done
	kmake M="$out/rig-modules" modules
}
mkdir -p "$out/kvm/tools" "$out/vfio"
# The tests that the series adds to the kernel's own
git -C "$tree" diff --name-only --diff-filter=A base "$commit" -- tools/testing/selftests |
	sed -n 's,^tools/testing/selftests/\(.*_test\|kvm/.*\)\.c$,\1,p' >"$out/own-tests"
if [ -n "${RIG_ONLY:-}" ]; then
	targets=$(echo "$RIG_ONLY" | tr ' ' '\n' | grep -vx selftests || :)
	# shellcheck disable=SC2086	# objects and directories of the kernel
	[ -z "$targets" ] || quietly "compiling" "$log" kmake $targets
	case " $RIG_ONLY " in
	*' selftests '*) quietly "building the KVM selftests" "$log" selftests ;;
	esac
	exit 0
fi
quietly "building the $which kernel${PAGES:+, $PAGES}${debug:+, $debug}" "$log" kmake Image modules
# Of programs there is nothing that depends on the size of pages
if [ -n "${PAGES:-}" ]; then
	cp "$tree/build/own-tests" "$out/own-tests"
	rm -rf "$out/kvm" "$out/vfio"
	ln -s ../build/kvm ../build/vfio "$out/"
else
	quietly "building the $which kernel's KVM selftests" "$log" selftests
fi
quietly "building the modules" "$log" module
echo "$stamp" >"$out/.rig-stamp"

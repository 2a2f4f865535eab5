#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: patches/qemu-10.0 selftests/rig/qemu.sh selftests/rig/qemu-source.sh
#
# QEMU's series applies, what is made of it exports as it is, and QEMU's own checkpatch
# has nothing to say, except for what is named here.

. "$(dirname "$0")/../gate.sh"

series=$TOP/patches/qemu-10.0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
unset TREE
tree=$("$RIG/qemu.sh" tree)
[ "$(git -C "$tree" rev-parse memtype)" = "$(cat "$CACHE/qemu/tree.exported")" ] || {
	echo "$tree has work that is not exported"
	exit 1
}
"$RIG/qemu.sh" export "$tmp/new" >/dev/null
diff -ru "$series" "$tmp/new" || {
	echo "'make qemu-tree qemu-export' changes the series"
	exit 1
}
check() { (cd "$tree" && perl scripts/checkpatch.pl --no-summary --terse "$1" 2>&1); }
# headers that are Linux's one day come by hand until then
allowed='imported from Linux, are you using scripts/update-linux-headers.sh'

r=0
printf 'From: a <a@b>\nSubject: x\n\nx\n---\ndiff --git a/accel/a.c b/accel/a.c\n--- a/accel/a.c\n+++ b/accel/a.c\n@@ -1 +1 @@\n-a\n+\tb;\n' >"$tmp/planted"
check "$tmp/planted" | grep -q 'tabs' || {
	echo "checkpatch does not see a planted error"
	r=1
}
for p in "$series"/[0-9]*.patch; do
	case $p in *0000-*) continue ;; esac
	! check "$p" | grep 'ERROR\|WARNING' | grep -v "$allowed" || r=1
done
exit $r

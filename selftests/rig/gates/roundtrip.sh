#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: series selftests/rig/tree.sh selftests/rig/export.sh selftests/rig/cover.sh
#
# A tree made from the series, exported, is the series. Blob hashes and line
# numbers are those of the point release it was exported from: on another one
# they are left out of the comparison.

. "$(dirname "$0")/../gate.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
RIG_REFS=refs/rig TREE=$W/apply "$RIG/export.sh" "$tmp/new"
mkdir "$tmp/old"
for s in $(series_upto); do
	mkdir "$tmp/old/$s"
	cp "$PATCHES/$s"/[0-9]*.patch "$tmp/old/$s/"
done
now=$(git -C "$W/src" rev-parse base)
if ! grep -qx "base-commit: $now" "$tmp"/old/*/0000-cover-letter.patch; then
	echo "the series was exported from another point release"
	sed -i 's/^index .*//; s/^@@ [^@]* @@.*/@@/; s/^base-commit: .*//' \
		"$tmp"/old/*/*.patch "$tmp"/new/*/*.patch
fi
diff -ru "$tmp/old" "$tmp/new" || {
	echo "'make tree export' changes the series"
	exit 1
}

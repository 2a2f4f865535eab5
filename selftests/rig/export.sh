#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: export.sh [directory]
#
# Writes the commits of the work tree (or of TREE=/path, any git tree whose
# history holds the base kernel) as git-format-patch files to patches/<base>, or
# to the directory given. The text of the cover letter is kept; its shortlog,
# diffstat and patch count are made anew. Nothing in the output depends on when
# or by whom it is made.

. "$(dirname "$0")/lib.sh"
lock

tree=${TREE:-$W/tree} out=${1:-$PATCHES}
[ -d "$tree" ] || die "there is no $tree: 'make tree' makes it"
RIG_QUIET=1 "$RIG/base.sh" >/dev/null
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The base is the newest commit that has the base kernel's content; the commit
# itself may be another one in a tree that is not ours.
want=$(git -C "$W/src" rev-parse 'base^{tree}')
base=$(git -C "$tree" log --first-parent --format='%H %T' HEAD |
	awk -v t="$want" '$2 == t { print $1; exit }')
[ -n "$base" ] || die "$tree: no commit has the content of $(head -n 1 "$W/source")"

cover=$PATCHES/0000-cover-letter.patch
prefix=PATCH
if [ -f "$cover" ]; then
	prefix=$(sed -n 's,^Subject: \[\(.*\) 0*0/[0-9]*\].*,\1,p;/^$/q' "$cover")
	[ -n "$prefix" ] || die "$cover: no subject of the form [PATCH 00/NN]"
fi

fmt() {
	GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
	git -C "$1" -c core.abbrev=12 -c core.quotePath=false format-patch -q \
		--numbered --cover-letter --zero-commit --no-signature \
		--subject-prefix="$prefix" --base="$3" -o "$2" "$3..HEAD"
}
if [ "$base" = "$(git -C "$tree" rev-parse HEAD)" ]; then
	say "$tree has no commits on top of the base kernel"
else
	fmt "$tree" "$tmp" "$base"
	new=$tmp/0000-cover-letter.patch
	# base-commit is what our own tree calls it, wherever this one came from.
	sed -i "s/^base-commit: .*/base-commit: $(git -C "$W/src" rev-parse base)/" "$new"
	count=$(sed -n 's/^Subject: \[\([^]]*\)\].*/\1/p;/^$/q' "$new")
	{
		if [ -f "$cover" ]; then
			# up to the shortlog, whose first line is "Name (N):"
			awk '/^[^ ].* \([0-9]+\):$/ { exit } { print }' "$cover" |
				sed "1,/^\$/s,^Subject: \[[^]]*\],Subject: [$count],"
		else
			# no date but that of the last commit
			awk '/^[^ ].* \([0-9]+\):$/ { exit } { print }' "$new" |
				sed "1,/^\$/s/^Date: .*/Date: $(git -C "$tree" log -1 --format=%aD)/
				     1,/^\$/s/^From: .*/From: $(git -C "$tree" log -1 --format='%an <%ae>')/"
		fi
		awk '/^[^ ].* \([0-9]+\):$/ { p = 1 } p { print }' "$new"
	} >"$tmp/cover"
	mv "$tmp/cover" "$new"
fi

mkdir -p "$out"
find "$out" -maxdepth 1 -name '[0-9]*.patch' -delete
find "$tmp" -name '*.patch' -exec cp {} "$out/" \;
echo "$out: $(find "$tmp" -name '*.patch' ! -name '0000-*' | wc -l) patches"

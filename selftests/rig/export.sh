#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: export.sh [directory]
#
# Writes the commits of the work tree (or of TREE=/path, any git tree whose
# history holds the base kernel) as git-format-patch files to patches/<base>/<series>,
# or below the directory given. Each series up to SERIES is what its branch has on
# top of the one before it. The text of a cover letter is kept; its shortlog,
# diffstat and patch count are made anew. Nothing in the output depends on when
# or by whom it is made.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cover.sh"
lock

tree=${TREE:-$W/tree} to=${1:-$PATCHES} refs=${RIG_REFS:-refs/heads}
[ -d "$tree" ] || die "there is no $tree: 'make tree' makes it"
RIG_QUIET=1 "$RIG/base.sh" >/dev/null
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

# The base is the newest commit that has the base kernel's content; the commit
# itself may be another one in a tree that is not ours.
want=$(git -C "$W/src" rev-parse 'base^{tree}')
base=
for s in $(series_upto); do
	git -C "$tree" rev-parse -q --verify "$refs/$s" >/dev/null ||
		die "$tree has no branch $s, which says where that series ends"
	[ -n "$base" ] || base=$(git -C "$tree" log --first-parent --format='%H %T' "$refs/$s" |
		awk -v t="$want" '$2 == t { print $1; exit }')
	[ -n "$base" ] || die "$tree: no commit has the content of $(head -n 1 "$W/source")"
	git -C "$tree" merge-base --is-ancestor "${prev:-$base}" "$refs/$s" ||
		die "$tree: $s is not on top of ${prev:-the base kernel}: git rebase it"
	prev=$refs/$s
done
head=$(git -C "$tree" rev-parse HEAD)
[ "$refs" != refs/heads ] || [ "$(git -C "$tree" merge-base "$head" "$prev")" != "$(git -C "$tree" rev-parse "$prev")" ] ||
	[ "$head" = "$(git -C "$tree" rev-parse "$prev")" ] ||
	die "$tree: what is checked out has commits on top of $SERIES that are in no series"

# fmt SERIES PREVIOUS: the patches of one, and its cover letter, into $tmp/SERIES
fmt() {
	cover=$PATCHES/$1/0000-cover-letter.patch
	prefix=PATCH
	if [ -f "$cover" ]; then
		prefix=$(sed -n 's,^Subject: \[\(.*\) 0*0/[0-9]*\].*,\1,p;/^$/q' "$cover")
		[ -n "$prefix" ] || die "$cover: no subject of the form [PATCH 00/NN]"
	fi
	mkdir "$tmp/$1"
	# Of the series below, which this one is on top of, it names the patch ids
	GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
	git -C "$tree" -c core.abbrev=12 -c core.quotePath=false format-patch -q \
		--numbered --cover-letter --zero-commit --no-signature \
		--subject-prefix="$prefix" --base="$base" -o "$tmp/$1" "$2..$refs/$1"
	new=$tmp/$1/0000-cover-letter.patch
	# base-commit is what our own tree calls it, wherever this one came from.
	sed -i "s/^base-commit: .*/base-commit: $(git -C "$W/src" rev-parse base)/" "$new"
	keep_cover "$cover" "$new" "$tree" "$refs/$1"
}
prev=$base
for s in $(series_upto); do
	if [ "$(git -C "$tree" rev-parse "$prev")" = "$(git -C "$tree" rev-parse "$refs/$s")" ]; then
		die "$tree: the series $s has no commits"
	fi
	fmt "$s" "$prev"
	prev=$refs/$s
done

for s in $(series_upto); do
	mkdir -p "$to/$s"
	find "$to/$s" -maxdepth 1 -name '[0-9]*.patch' -delete
	find "$tmp/$s" -name '*.patch' -exec cp {} "$to/$s/" \;
	echo "$to/$s: $(find "$tmp/$s" -name '*.patch' ! -name '0000-*' | wc -l) patches"
done
# For tree.sh: all that is there is exported
[ "$tree" != "$W/tree" ] || [ "$to" != "$PATCHES" ] || for s in $(series_upto); do
	echo "$(series_key "$s") $(git -C "$tree" rev-parse "$refs/$s")" >"$(state_of "$tree" "$s")"
done

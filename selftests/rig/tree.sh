#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: tree.sh [apply]
#
# Makes a git work tree of the base kernel with the series as commits, to edit
# with git and to write back with `make export`; prints where it is. Each series is
# a branch of its own name on top of the one before it, and `git rebase -i base`
# moves all of them along. Commits that were not exported are never thrown away.
#
# With "apply", makes the same commits in a work tree of the rig's own, which
# the gates and builds take them from: refs/rig/<series>.

. "$(dirname "$0")/lib.sh"
RIG_QUIET=1 "$RIG/base.sh" >&2
lock

dir=$W/${1:-tree}
log=$W/$(basename "$dir").log
refs=refs/heads
[ "${1:-tree}" = tree ] || refs=refs/rig

add() { git -C "$W/src" worktree prune && git -C "$W/src" worktree add -q --detach "$dir" base; }
[ -d "$dir" ] || quietly "making a work tree" "$log" add >&2
git -C "$dir" config rebase.updateRefs true

head_of() { git -C "$dir" rev-parse -q --verify "$refs/$1" || echo none; }

done=base missing=
for s in $(series_upto); do
	state=$(state_of "$dir" "$s")
	if [ -f "$state" ] && [ "${1:-tree}" = tree ]; then
		# What is there and was not exported stays
		if [ "$(sed 's/^.* //' "$state")" != "$(head_of "$s")" ] ||
			[ -n "$(git -C "$dir" status --porcelain -uno)" ]; then
			[ "$(sed 's/ [^ ]*$//' "$state")" = "$(series_key "$s")" ] ||
				die "$dir has work that is not exported, and patches/$BASE has" \
					"changed since: 'make export', or remove it"
			say "$dir has work that is not exported: left as it is" >&2
			echo "$dir"
			exit 0
		fi
	fi
	if [ -z "$missing" ] && [ -f "$state" ] &&
		[ "$(cat "$state")" = "$(series_key "$s") $(head_of "$s")" ]; then
		done=$refs/$s
	else
		missing="$missing $s"
	fi
done

if [ -n "$missing" ]; then
	# What a run that was killed has left
	git -C "$dir" am --abort >/dev/null 2>&1 || :
	rm -rf "$(git -C "$dir" rev-parse --path-format=absolute --git-path rebase-apply)"
	git -C "$dir" checkout -q -f --detach "$done"
	[ "${1:-tree}" != apply ] || git -C "$dir" clean -q -fd
fi
for s in $missing; do
	rm -f "$(state_of "$dir" "$s")"
	# The committer is fixed and its date is the author's, so that the same series
	# makes the same commits everywhere. git am takes no fuzz.
	for p in $(series_files "$s"); do
		GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
			git -C "$dir" am -q --committer-date-is-author-date "$p" \
			>"$log" 2>&1 || {
			git -C "$dir" am --abort >/dev/null 2>&1 || :
			why_not "$dir" "$p" "$log" "$(head -n 1 "$W/source")"
			exit 1
		}
	done
	git -C "$dir" update-ref "$refs/$s" HEAD
	echo "$(series_key "$s") $(head_of "$s")" >"$(state_of "$dir" "$s")"
done
if [ "${1:-tree}" = tree ]; then
	[ -z "$missing" ] || git -C "$dir" checkout -q "$SERIES"
else
	git -C "$dir" checkout -q -f --detach "$refs/$SERIES"
fi
echo "$dir"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: tree.sh [apply]
#
# Makes a git work tree of the base kernel with the series as commits, to edit
# with git and to write back with `make export`; prints where it is. Commits
# that were not exported are never thrown away.
#
# With "apply", makes the same commits in a work tree of the rig's own, which
# the gates and builds take them from.

. "$(dirname "$0")/lib.sh"
RIG_QUIET=1 "$RIG/base.sh" >&2
lock

dir=$W/${1:-tree}
log=$W/$(basename "$dir").log
key=$(series_files | { echo "$RIG_KEY"; xargs -r -d '\n' sha256sum; } | sha256sum)

add() { git -C "$W/src" worktree prune && git -C "$W/src" worktree add -q --detach "$dir" base; }
[ -d "$dir" ] || quietly "making a work tree" "$log" add >&2

# The state file says which series was applied, and what came of it.
state=$(git -C "$dir" rev-parse --git-path rig-state)
head=$(git -C "$dir" rev-parse HEAD)
if [ -f "$state" ] && [ "$(cat "$state")" = "$key $head" ]; then
	echo "$dir"
	exit 0
fi
if [ "${1:-tree}" = tree ] && [ -f "$state" ]; then
	if [ "$(sed 's/^.* //' "$state")" != "$head" ] ||
		[ -n "$(git -C "$dir" status --porcelain -uno)" ]; then
		[ "$(sed 's/ [^ ]*$//' "$state")" = "$key" ] ||
			die "$dir has work that is not exported, and patches/$BASE has" \
				"changed since: 'make export', or remove it"
		say "$dir has work that is not exported: left as it is" >&2
		echo "$dir"
		exit 0
	fi
fi

rm -f "$state"
# What a run that was killed has left
git -C "$dir" am --abort >/dev/null 2>&1 || :
rm -rf "$(git -C "$dir" rev-parse --path-format=absolute --git-path rebase-apply)"
git -C "$dir" checkout -q -f --detach base
[ "${1:-tree}" != apply ] || git -C "$dir" clean -q -fd

# The committer is fixed and its date is the author's, so that the same series
# makes the same commits everywhere. git am takes no fuzz.
for p in $(series_files); do
	GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
		git -C "$dir" am -q --committer-date-is-author-date "$p" \
		>"$log" 2>&1 || {
		git -C "$dir" am --abort >/dev/null 2>&1 || :
		echo "patches/$BASE/$(basename "$p") does not apply to $(head -n 1 "$W/source"):" >&2
		sed -n 's/^error: /  /p' "$log" >&2
		# What failed, hunk by hunk
		patch -d "$dir" -p1 -F0 --dry-run -f <"$p" |
			sed -n 's/^/  /; /FAILED\|checking\|can.t find/p' >&2 || :
		exit 1
	}
done
[ "${1:-tree}" = apply ] || git -C "$dir" checkout -q -B series
echo "$key $(git -C "$dir" rev-parse HEAD)" >"$state"
echo "$dir"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make apply TREE=/path [SERIES=...]: puts the series, up to and with SERIES, onto a
# new branch of somebody's kernel tree, on top of what is checked out there, and
# checks that branch out. A tree with uncommitted changes is refused. The commits
# are made in a temporary work tree that holds the files that the patches touch and
# no other, so that a patch that does not apply, or Ctrl-C, leaves the tree as it was.

. "$(dirname "$0")/lib.sh"
# The commits are made by whoever does this
unset GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM

[ -n "${TREE:-}" ] || die "which tree? make apply TREE=/path/to/linux [SERIES=...]"
git -C "$TREE" rev-parse -q --verify HEAD >/dev/null 2>&1 ||
	die "$TREE is not a git tree with a commit in it; there, patch -p1 takes the files" \
		"of patches/$BASE/*, in order"
TREE=$(git -C "$TREE" rev-parse --show-toplevel)
[ -f "$TREE/virt/kvm/kvm_main.c" ] || die "$TREE is not a kernel tree"
[ -z "$(git -C "$TREE" status --porcelain -uno)" ] ||
	die "$TREE has uncommitted changes: commit or stash them first. Nothing was changed"
branch=memtype-$SERIES
! git -C "$TREE" rev-parse -q --verify "refs/heads/$branch" >/dev/null ||
	die "$TREE has a branch $branch already: remove it (git branch -D $branch), or rename it"

tmp=$(mktemp -d)
log=$tmp/log
end() {
	git -C "$TREE" worktree remove --force "$tmp/tree" >/dev/null 2>&1 || :
	rm -rf "$tmp"
	git -C "$TREE" worktree prune
}
trap end EXIT
trap 'exit 130' INT TERM HUP

sparse() { git -C "$tmp/tree" -c core.sparseCheckout=true -c core.sparseCheckoutCone=false "$@"; }
git -C "$TREE" worktree add -q --no-checkout --detach "$tmp/tree" HEAD
info=$(git -C "$tmp/tree" rev-parse --path-format=absolute --git-path info/sparse-checkout)
mkdir -p "$(dirname "$info")"
for s in $(series_upto); do
	series_files "$s" | xargs -r -d '\n' sed -n 's,^diff --git a/\([^ ]*\) b/.*,/\1,p'
done | sort -u >"$info"
sparse read-tree -mu HEAD

for s in $(series_upto); do
	for p in $(series_files "$s"); do
		sparse am -q "$p" >"$log" 2>&1 || {
			! grep -q 'Committer identity\|tell me who you are' "$log" || {
				cat "$log" >&2
				exit 1
			}
			why_not "$tmp/tree" "$p" "$log" "$TREE"
			echo "$TREE is as it was." >&2
			exit 1
		}
	done
done
git -C "$TREE" branch "$branch" "$(sparse rev-parse HEAD)"
end
trap - EXIT
git -C "$TREE" checkout -q "$branch"
echo "$TREE: branch $branch, $(git -C "$TREE" log --oneline '@{-1}..HEAD' | wc -l) commits"

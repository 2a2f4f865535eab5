#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: series selftests/rig/apply.sh
#
# `make apply` puts the series onto a tree; one with changes, one that a patch does
# not apply to and one that has the branch stay as they were, and are told why.

. "$(dirname "$0")/../gate.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
tree=$tmp/linux
git clone -q --shared --no-checkout --single-branch -b base "$W/src" "$tree"
git -C "$tree" sparse-checkout set --no-cone /virt/kvm/ /arch/arm64/kvm/
git -C "$tree" checkout -q base
git -C "$tree" config user.name gate
git -C "$tree" config user.email gate@localhost

state() { git -C "$tree" for-each-ref && git -C "$tree" worktree list && git -C "$tree" status -sb; }
# refused WORDS: it says so, and changes nothing
refused() {
	before=$(state)
	! TREE=$tree "$RIG/apply.sh" >"$tmp/out" 2>&1 || {
		echo "not refused: $1"
		exit 1
	}
	grep -q "$1" "$tmp/out" || {
		cat "$tmp/out"
		echo "it does not say: $1"
		exit 1
	}
	[ "$(state)" = "$before" ] || {
		echo "refused, but the tree has changed: $1"
		exit 1
	}
}

echo >>"$tree/virt/kvm/kvm_main.c"
refused "uncommitted changes"
git -C "$tree" commit -q -a -m changed
# A file that the first patch of KVM's changes, without what it changes
: >"$tree/virt/kvm/kvm_main.c"
git -C "$tree" commit -q -a -m empty
refused "\.patch does not apply to"
git -C "$tree" reset -q --hard origin/base

TREE=$tree "$RIG/apply.sh"
[ "$(git -C "$tree" rev-parse 'HEAD^{tree}')" = "$(git -C "$W/src" rev-parse "refs/rig/$SERIES^{tree}")" ] || {
	echo "the branch does not have what the series makes"
	exit 1
}
refused "has a branch"

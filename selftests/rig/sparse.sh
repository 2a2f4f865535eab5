#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the kernel's build calls as CHECK=: sparse, with two constructs defined
# away that sparse 0.6.4 does not know and on which it gives up silently. Every
# file is checked twice, the second time with an error planted behind its last
# line: a file in which the planted error is not reported was not checked, and
# that is an error. The findings go to $RIG_SPARSE_LOG.

for src; do :; done

check() {
	sparse -D__typeof_unqual__=__typeof__ '-D_Static_assert(...)=' "$@" 2>&1
}

check "$@" >>"$RIG_SPARSE_LOG"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
case $src in
/*) abs=$src ;;
*) abs=$PWD/$src ;;
esac
cat >"$tmp/planted.c" <<END
#include "$abs"
int rig_planted(int __user *p);
int rig_planted(int __user *p) { return *p; }
END
# the same command line but for the last word
n=$#
while [ "$n" -gt 1 ]; do
	set -- "$@" "$1"
	shift
	n=$((n - 1))
done
shift
if check "$@" "$tmp/planted.c" | grep -q 'planted\.c:3:.*noderef'; then
	echo "checked: $src" >>"$RIG_SPARSE_LOG"
else
	echo "$src:1:1: error: sparse does not see an error planted here" >>"$RIG_SPARSE_LOG"
fi

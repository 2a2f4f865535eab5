#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: boots.sh <directory>...
#
# Makes the boots of these directories (see boot.sh), three at a time, and shows when
# each of them ends. On two CPUs two of them leave a fifth idle: tests of devices wait.

. "$(dirname "$0")/lib.sh"

# One of them, from xargs
if [ "$1" = one ]; then
	took=$CACHE/took/boot${debug:+-$debug}-$(echo "${2#"$LOGS/"}" | tr '/' '-')
	last=$(cat "$took" 2>/dev/null || :)
	say "  ${2#"$LOGS/"}: boots${last:+ (last time $last s)}"
	t=$(date +%s)
	"$RIG/boot.sh" "$2"
	t=$(($(date +%s) - t))
	mkdir -p "$CACHE/took"
	echo "$t" >"$took"
	say "  ${2#"$LOGS/"}: $(grep -c '^END ' "$2/port.log" || :) tests in $t s"
	exit 0
fi

printf '%s\n' "$@" | xargs -d '\n' -P 3 -n 1 "$RIG/boots.sh" one

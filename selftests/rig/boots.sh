#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: boots.sh <build directory> <directory> <seconds> [archive...]
#
# Runs boot.sh for every <directory>/<configuration> that holds a list, two at a
# time, and shows when each of them ends. A configuration with the stock kernel
# takes that instead of the build directory's.

. "$(dirname "$0")/lib.sh"

# One of them, from xargs
if [ "$1" = one ]; then
	shift
	config=$1 build=$2 dir=$3 limit=$4
	shift 4
	[ "$(config_field "$config" 4)" != stock ] || build=$CACHE/debian/stock
	t=$(date +%s)
	"$RIG/boot.sh" "$build" "$config" "$dir/$config" "$limit" "$@"
	say "  $config: $(grep -c '^END ' "$dir/$config/port.log" || :) tests in $(($(date +%s) - t)) s"
	exit 0
fi

build=$1 dir=$2 limit=$3
shift 3
(cd "$dir" && find . -mindepth 2 -maxdepth 2 -name list | sort | sed 's|^\./||; s|/list$||') |
	xargs -P 2 -I '{}' "$RIG/boots.sh" one '{}' "$build" "$dir" "$limit" "$@"

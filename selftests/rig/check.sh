#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make check: gates, our tests in every configuration, the comparisons with the
# base kernel, and the verdict. With DEBUG=1, our tests alone on a kernel with
# KASAN, lockdep and kmemleak.

. "$(dirname "$0")/lib.sh"

"$RIG/tools.sh"
lock
"$RIG/base.sh"
results=$W/results.tsv
: >"$results"

# Whatever stops the run early is a failure, and the last line is still the count.
verdict() {
	rc=$?
	trap - EXIT
	[ "$finished" = 1 ] || printf 'fail\tcheck\tthe run stopped early, status %s\n' "$rc" >>"$results"
	"$RIG/report.sh" summary "$results" || exit 1
	exit "$rc"
}
finished=0
trap verdict EXIT

if [ -z "${DEBUG:-}" ]; then
	"$RIG/build.sh" unpatched
	"$RIG/gates.sh" >>"$results"
	"$RIG/build.sh" patched
	"$RIG/initramfs.sh" unpatched
else
	"$RIG/build.sh" patched
fi
"$RIG/initramfs.sh" patched
build="$W/patched/$BUILD"

limit=420
[ -z "${DEBUG:-}" ] || limit=1800
rm -rf "${LOGS:?}/boot"
for c in $(rig_configs); do
	mkdir -p "$LOGS/boot/$c"
	list_for "$c" >"$LOGS/boot/$c/list"
done
say "our tests, in every configuration"
"$RIG/boots.sh" "$build" "$LOGS/boot" "$limit"
for c in $(rig_configs); do
	"$RIG/report.sh" boot "$c" "$LOGS/boot/$c" >>"$results"
done

if [ -z "${DEBUG:-}" ]; then
	"$RIG/baseline.sh" >>"$results"
	"$RIG/upstream.sh" >>"$results"
fi

say "done; logs are in $LOGS"
finished=1

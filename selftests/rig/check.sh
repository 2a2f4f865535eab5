#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make check: gates, our tests in every configuration, the comparisons with the
# base kernel, and the verdict. With DEBUG=1, our tests alone on a kernel with
# KASAN, lockdep and kmemleak.

. "$(dirname "$0")/lib.sh"

"$RIG/tools.sh" package
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
	"$RIG/gates.sh" results >>"$results"
	"$RIG/build.sh" patched
	"$RIG/initramfs.sh" unpatched
	# The carve-out module on Debian's kernels: one that is booted, too, and
	# one that it is only built for
	"$RIG/debian.sh" stock
	"$RIG/initramfs.sh" stock
	"$RIG/debian.sh" newest && newest=pass || newest=fail
	printf '%s\tgates/builds_for_newest_debian\t%s\n' "$newest" \
		"$(cat "$CACHE/debian/newest/found" 2>/dev/null)" >>"$results"
else
	"$RIG/build.sh" patched
fi
"$RIG/initramfs.sh" patched
build="$W/patched/$BUILD"

limit=600
[ -z "${DEBUG:-}" ] || limit=1800
rm -rf "${LOGS:?}/boot"
configs=$(rig_configs)
[ -z "${DEBUG:-}" ] || configs=$(rig_configs both; rig_configs patched)
for c in $configs; do
	mkdir -p "$LOGS/boot/$c"
	list_for "$c" >"$LOGS/boot/$c/list"
done
say "our tests, in every configuration"
"$RIG/boots.sh" "$build" "$LOGS/boot" "$limit"
for c in $configs; do
	"$RIG/report.sh" boot "$c" "$LOGS/boot/$c" >>"$results"
done

if [ -z "${DEBUG:-}" ]; then
	for part in baseline.sh upstream.sh 'demo.sh results'; do
		# shellcheck disable=SC2086	# words
		"$RIG/"$part >>"$results"
	done
fi

say "done; logs are in $LOGS"
finished=1

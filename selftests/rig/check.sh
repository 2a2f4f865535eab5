#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make check: gates, our tests in every configuration, each series without those
# after it, the comparisons with the base kernel, and the verdict. ONLY= takes tests,
# gates or parts by name, CONFIG= configurations. What has passed and has not changed
# since is not run again, unless AGAIN=1. With DEBUG=1, our tests alone on a kernel with
# KASAN, lockdep and kmemleak; with DEBUG=kcsan on one that looks for data races.
# "check.sh pages", make pages: our tests and the tarball for boards in the
# configurations that make check leaves out, with pages of another size: each has a
# kernel of its own.

. "$(dirname "$0")/lib.sh"

# prefixes: each series without those after it; baseline: dumps that the unpatched
# kernel has, too; upstream: the kernel's own tests; demo: guests of a real VMM; model:
# the same with a cache model; newest: the module on Debian's newest kernel; display: a
# guest's display in the carve-out, by the patched VMM; board: the tarball for boards, as
# one runs it; vmm: all guests of the patched VMM, where ONLY names it
parts='prefixes baseline upstream demo model display newest board vmm'
tests=$(awk '!/^#/ && NF >= 5 { print $3 }' "$TOP/selftests/tests" | sort -u)
gates=$(gate_names)
known=$(rig_configs)
configs=$(echo "$known" | grep -vxF "$(rig_configs pages)")
[ "${1:-}" != pages ] || {
	RIG_PAGES=1
	export RIG_PAGES
	configs=$(rig_configs pages)
	parts=board gates=''
}
[ -z "${DEBUG:-}" ] || {
	configs=$(rig_configs both; rig_configs patched)
	known=$configs
	parts='' gates=''
}

words() { echo "$*" | tr ',' ' '; }
# chosen LIST: those of it that ONLY names
chosen() {
	for o in $(words "${ONLY:-}"); do
		! echo "$1" | grep -qx "$o" || echo "$o"
	done
}
for o in $(words "${ONLY:-}"); do
	one_of ONLY "$o" "$(words "$parts" | tr ' ' '\n'; echo "$gates"; echo "$tests")"
done
for c in $(words "${CONFIG:-}"); do
	one_of CONFIG "$c" "$known"
done
[ -z "${CONFIG:-}" ] || configs=$(words "$CONFIG" | tr ' ' '\n')
only_tests=
if [ -n "${ONLY:-}" ]; then
	only_tests=$(chosen "$tests")
	gates=$(chosen "$gates")
	parts=$(chosen "$(echo "$parts" | tr ' ' '\n')")
	[ -n "$only_tests" ] || configs=
elif [ -n "${CONFIG:-}" ]; then
	parts='' gates=''
else
	parts=${parts% vmm}
fi
wants() { echo "$parts" | tr ' ' '\n' | grep -qx "$1"; }
# part NAME plan|results
part() {
	case $1 in
	display | vmm) "$RIG/demo.sh" "$2" "$1" ;;
	*) "$RIG/$1.sh" "$2" ;;
	esac
}
# The comparison is with what our tests wrote, in every configuration
! wants baseline || [ -z "${ONLY:-}" ] || {
	only_tests="$only_tests s2_dump_baseline vfio_dump_baseline"
	configs=$(rig_configs both)
}

"$RIG/tools.sh" package emulator
lock
# What needs no kernel of ours, and leaves nothing to do for those who ask for it later:
# fetched and compiled beside the rest, which leaves a CPU idle now and then. The gates
# want the emulator's source, too.
stock=
for c in $configs; do
	[ "$(config_field "$c" 4)" != stock ] || stock=stock
done
! wants board || [ -n "${RIG_PAGES:-}" ] || stock=stock
beside=
if [ -n "$gates" ]; then
	# shellcheck disable=SC2086	# names
	if wants_emulator $configs; then
		"$RIG/qemu-source.sh" >/dev/null
		echo emulator.sh
	fi
	[ -z "$stock" ] || echo debian.sh stock
	! wants newest || echo debian.sh newest
	! wants demo && ! wants model && ! wants display || echo vmm.sh
	! wants display || printf '%s\n' distro-guest.sh edk2.sh qemu.sh
fi >"$CACHE/beside"
if [ -s "$CACHE/beside" ]; then
	# timeout for its process group: the compilers end, too
	UPDATE='' PATH=$RIG:$PATH setpriv --pdeathsig TERM timeout -k 5 0 nice -n 19 \
		xargs -L 1 env <"$CACHE/beside" >/dev/null &
	beside=$!
fi
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

if [ -z "${DEBUG:-}${ONLY:-}${CONFIG:-}${RIG_PAGES:-}" ]; then
	# Its work tree is made by one CPU alone. What does not apply the gates say.
	"$RIG/tree.sh" apply >/dev/null 2>&1 &
	series=$!
	"$RIG/build.sh" unpatched
	wait "$series" || :
fi
# shellcheck disable=SC2086	# names
[ -z "$gates" ] || "$RIG/gates.sh" results $gates >>"$results"
build=$W/patched/$BUILD
# The tarball's boots are not among the configurations, and need the kernels, too
# shellcheck disable=SC2046,SC2086	# names
pages=$(page_kernels $configs $([ -z "${RIG_PAGES:-}" ] || rig_configs pages))
if [ -n "$configs" ] || wants prefixes || wants upstream || wants demo || wants model || wants display ||
	wants board || wants vmm; then
	"$RIG/build.sh" patched
	"$RIG/initramfs.sh" tests
	"$RIG/initramfs.sh" modules "$build"
	for p in $pages; do
		PAGES=$p "$RIG/build.sh" patched
		"$RIG/initramfs.sh" modules "$W/patched/build-$p"
	done
fi
# What has failed there fails once more in the open
[ -z "$beside" ] || wait "$beside" || say "not all is there that was made beside the gates"
# shellcheck disable=SC2086	# names
need_emulator $configs
[ -z "$stock" ] || {
	# The carve-out module on a kernel of Debian's
	"$RIG/debian.sh" stock
	"$RIG/initramfs.sh" modules "$CACHE/debian/stock"
}
if wants newest; then
	"$RIG/debian.sh" newest && newest=pass || newest=fail
	printf '%s\tgates/builds_for_newest_debian\t%s\n' "$newest" \
		"$(cat "$CACHE/debian/newest/found" 2>/dev/null)" >>"$results"
fi

limit=900
[ -z "${DEBUG:-}" ] || limit=5400
for c in $configs; do
	dir=$LOGS/boot/$(label_of "$c")
	b=$(build_of "$c")
	# A guest's tables are larger there, and so is all that is filled
	seconds=$limit
	[ -z "$(page_kernels "$c")" ] || seconds=$((2 * limit))
	# shellcheck disable=SC2086	# names
	list_for "$c" $only_tests >"$W/list"
	if [ -n "$only_tests" ] && ! awk '{ print $2 }' "$W/list" | grep -qv '_load$'; then
		continue # nothing of it is run there
	fi
	plan_boot "$dir" "$b" "$seconds" <"$W/list"
done >"$W/planned"
# The short ones last, so that none goes on alone
for p in board model demo display vmm upstream prefixes baseline; do
	! wants "$p" || part "$p" plan
done >>"$W/planned"

# All that is to be booted, and what has passed before
boots=$(sed -n 's/^boot //p' "$W/planned")
kept=$(grep -c '^kept ' "$W/planned" || :)
[ "$kept" = 0 ] || say "$kept boots have passed before, with the same kernel and tests: not made" \
	"again (AGAIN=1 makes them)"
[ -z "$boots" ] || {
	say "boots: $(echo "$boots" | wc -l), three at a time"
	# shellcheck disable=SC2086	# paths of ours, without blanks
	"$RIG/boots.sh" $boots
}

sed -n "s|^[a-z]* \($LOGS/boot/.*\)|\1|p" "$W/planned" | while read -r dir; do
	judge_boot "$(basename "$dir")" "$dir"
done >>"$results"
for p in prefixes baseline upstream demo model display board vmm; do
	! wants "$p" || part "$p" results >>"$results"
done

say "done; logs are in $LOGS"
finished=1

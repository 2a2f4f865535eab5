# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034	# most is for those who source it
#
# Sourced by every script of the rig: where things are, and how progress,
# failures and commands are shown. It does nothing by itself.

set -eu

RIG=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$RIG/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kvm-arm64-memtype
BASE=${BASE:-v7.3}
PATCHES=$TOP/patches/$BASE
V=${V:-0}
JOBS=$(nproc)
BUILD=build${DEBUG:+-debug}
LIBUUID=$CACHE/libuuid
LIBUUID_CFLAGS="-idirafter $LIBUUID/usr/include"
LIBUUID_LDFLAGS=-L$LIBUUID/usr/lib/aarch64-linux-gnu

# A user's git configuration must change neither patches nor commit hashes.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
# ccache hits only when nothing in the objects depends on when they were built.
export KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=rig
export KBUILD_BUILD_HOST=rig KBUILD_BUILD_VERSION=1
export LC_ALL=C

RIG_START=${RIG_START:-$(date +%s)}
# The script that was called first: nothing runs on when that has gone
RIG_PID=${RIG_PID:-$$}
export RIG_START RIG_PID

elapsed() { echo $(($(date +%s) - RIG_START)); }
say() { printf '[%4d s] %s\n' "$(elapsed)" "$*"; }
die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# One base kernel has one directory; KERNEL=/path has one for each state of it.
if [ -z "${RIG_KEY:-}" ]; then
	RIG_KEY=$BASE
	if [ -n "${KERNEL:-}" ]; then
		[ -f "$KERNEL/Kbuild" ] || die "KERNEL=$KERNEL is not a kernel tree"
		KERNEL=$(cd "$KERNEL" && pwd)
		export KERNEL
		RIG_KEY=$BASE-$({
			git -C "$KERNEL" rev-parse 'HEAD^{tree}' 2>/dev/null ||
				find "$KERNEL" -type f -printf '%P %s %T@\n' | sort
		} | sha256sum | cut -c1-12)
	fi
	export RIG_KEY
fi
W=$CACHE/$RIG_KEY
LOGS=$W/logs

series_files() {
	[ -d "$PATCHES" ] || return 0
	find "$PATCHES" -maxdepth 1 -name '[0-9]*.patch' \
		! -name '0000-*' | sort
}

# hash_of FILE...: one hash for the content (not the names) of files and trees.
hash_of() {
	for h in "$@"; do
		[ -e "$h" ] || continue
		find "$h" -type f | sort | xargs -r -d '\n' sha256sum | cut -d' ' -f1
	done | sha256sum | cut -c1-16
}

# list_for CONFIGURATION [NAME...]: what /rig/list holds in that configuration: our
# tests, or those of these names and the loading of the module.
list_for() {
	lf_config=$1
	shift
	# "all" does not mean the configurations that are there for something else
	all=
	[ "$(config_field "$lf_config" 4)" != both ] || all=all
	# All is slower with debugging options
	awk -v config="$lf_config" -v all="$all" -v only=" $* " -v slow="${DEBUG:+4}" '
		/^#/ || NF < 4 { next }
		index("," $1 ",", "," config ",") == 0 &&
			(all == "" || index("," $1 ",", ",all,") == 0) { next }
		only !~ /^ *$/ && index(only, " " $2 " ") == 0 && $2 != "module_load" { next }
		{
			name = $2; limit = $3 * (slow ? slow : 1)
			sub(/^[^ \t]+[ \t]+[^ \t]+[ \t]+[^ \t]+[ \t]+/, "")
			print limit, name, $0
		}' "$TOP/selftests/tests"
}
# rig_configs [KERNEL]: the names of all configurations, or of those with KERNEL
rig_configs() {
	awk -v kernel="${1:-}" '!/^#/ && NF && (kernel == "" || $4 == kernel) {
		print $1
	}' "$RIG/configs"
}
# config_field NAME N: one column of a configuration
config_field() { awk -v n="$1" -v field="$2" '$1 == n { print $field }' "$RIG/configs"; }

# output_of PORT_LOG TEST: what a test printed
output_of() {
	awk -v t="$2" '
		/^START / { p = $2 == t; next }
		/^END / { p = 0 }
		p && /^\| / { print substr($0, 3) }' "$1"
}
# file_of PORT_LOG NAME: what a test left in /results
file_of() {
	awk -v f="$2" '
		/^FILE / { p = $2 == f; next }
		/^EOF/ { p = 0 }
		p' "$1" | base64 -d
}

# One run at a time in one cache.
lock() {
	[ -z "${RIG_LOCKED:-}" ] || return 0
	mkdir -p "$CACHE"
	exec 9>"$CACHE/lock"
	flock -n 9 || {
		say "another run uses $CACHE: waiting"
		flock 9
	}
	RIG_LOCKED=1
	export RIG_LOCKED
}

# quietly LABEL LOG COMMAND...: run a long command with its output added to LOG;
# show that it is alive, and the end of the log when it fails.
quietly() {
	q_label=$1 q_log=$2
	shift 2
	mkdir -p "$(dirname "$q_log")"
	if [ "${V:-0}" = 1 ]; then
		echo "+ $*"
		"$@"
		return
	fi
	say "$q_label"
	(
		trap 'kill "$s" 2>/dev/null; exit 0' TERM INT
		while :; do
			sleep 30 9>&- &
			s=$!
			wait "$s"
			# $$ is still the script's own id: stop when it has gone
			kill -0 $$ 2>/dev/null || exit 0
			say "$q_label ... $(tail -n 1 "$q_log" | cut -c 1-60)"
		done
	) 9>&- &
	q_beat=$!
	# a subshell outside of any condition, so that -e works in functions
	set +e
	(
		set -e
		"$@"
	) >>"$q_log" 2>&1
	q_rc=$?
	set -e
	kill "$q_beat" 2>/dev/null || :
	wait "$q_beat" 2>/dev/null || :
	[ "$q_rc" -eq 0 ] || {
		tail -n 25 "$q_log" >&2
		echo "$q_label: failed; the whole log is $q_log" >&2
	}
	return "$q_rc"
}

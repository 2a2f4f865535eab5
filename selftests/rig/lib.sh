# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034	# most is for those who source it
#
# Sourced by every script of the rig: where things are, and how progress,
# failures and commands are shown. It does nothing by itself.

set -eu

RIG=$(cd "$(dirname "$0")" && pwd)
RIG=${RIG%/gates}
TOP=$(cd "$RIG/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kvm-arm64-memtype
BASE=${BASE:-v7.3}
PATCHES=$TOP/patches/$BASE
V=${V:-0}
JOBS=$(nproc)
LIBUUID=$CACHE/libuuid
LIBUUID_CFLAGS="-idirafter $LIBUUID/usr/include"
LIBUUID_LDFLAGS=-L$LIBUUID/usr/lib/aarch64-linux-gnu
# The one that patches/qemu-* and patches/qemu-model are for: trixie's, whose binary
# package vmm.sh has for comparison
QEMU_RELEASE=10.0

# A user's git configuration must change neither patches nor commit hashes.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
# ccache hits only when nothing in the objects depends on when they were built.
export KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=rig
export KBUILD_BUILD_HOST=rig KBUILD_BUILD_VERSION=1
# A miss does not preprocess first: a quarter less time from nothing
export CCACHE_DEPEND=1
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

# A kernel with debugging options has a directory and logs of its own. The name of its
# fragment in arch-arm64/configs, too
case ${DEBUG:-} in
'') debug= ;;
1) debug=debug ;;
kcsan) debug="debug-kcsan" ;;
*) die "DEBUG=$DEBUG: there are DEBUG=1, for KASAN, lockdep and kmemleak, and DEBUG=kcsan" ;;
esac
BUILD=build${PAGES:+-$PAGES}${debug:+-$debug}

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
LOGS=$W/logs${debug:+-$debug}

# The series of the base kernel, in the order in which they go on top of each
# other: the directories of patches/<base>
all_series() {
	(cd "$PATCHES" 2>/dev/null && find . -mindepth 1 -maxdepth 1 -type d -name '[0-9]*-*') |
		sed 's|^\./||' | sort -n
}
# one_of WHAT WORD LIST: dies, and says what there is, if WORD is not in LIST
one_of() {
	case " $(echo "$3" | tr '\n' ' ') " in
	*" $2 "*) ;;
	*) die "$1=$2: there is no such thing; there are: $(echo "$3" | tr '\n' ' ')" ;;
	esac
}
# SERIES is the last one that is wanted
[ -z "$(all_series)" ] || {
	SERIES=${SERIES:-$(all_series | tail -n 1)}
	one_of SERIES "$SERIES" "$(all_series)"
	export SERIES
}
# The series up to and with SERIES, or another; and the last one before it, or base
series_upto() { all_series | sed "/^${1:-$SERIES}\$/q"; }
series_before() {
	sb=$(series_upto "$1" | tail -n 2 | head -n 1)
	[ "$sb" != "$1" ] && echo "refs/rig/$sb" || echo base
}
# The patches of one series, without its cover letter
series_files() {
	find "$PATCHES/$1" -maxdepth 1 -name '[0-9]*.patch' ! -name '0000-*' | sort
}
# series_key SERIES: which patches make it, those of the series before it among them
series_key() {
	for k in $(series_upto "$1"); do
		echo "$k"
		series_files "$k" | xargs -r -d '\n' sha256sum | cut -d' ' -f1
	done | { echo "$RIG_KEY"; cat; } | sha256sum | cut -d' ' -f1
}
# state_of TREE SERIES: the file that says which patches a work tree has, by that key, and
# the commit that came of them
state_of() { git -C "$1" rev-parse --path-format=absolute --git-path "rig-$2"; }

# why_not TREE PATCH LOG NAME: which patch git am did not take there, and where
why_not() {
	echo "${2#"$TOP/"} does not apply to $4:" >&2
	sed -n 's/^error: /  /p' "$3" >&2
	# What failed, hunk by hunk
	patch -d "$1" -p1 -F0 --dry-run -f <"$2" |
		sed -n 's/^/  /; /FAILED\|checking\|can.t find/p' >&2 || :
}

# kernel_make TREE OUT ARCH ARGUMENT...
kernel_make() {
	km_tree=$1 km_out=$2 km_arch=$3
	shift 3
	case $km_arch in
	arm64) km_cross=aarch64-linux-gnu- ;;
	x86) [ "$(uname -m)" = x86_64 ] && km_cross= || km_cross=x86_64-linux-gnu- ;;
	esac
	make -C "$km_tree" O="$km_out" -s -j"$JOBS" ARCH="$km_arch" CROSS_COMPILE="$km_cross" \
		CC="ccache ${km_cross}gcc" HOSTCC="ccache gcc" "$@"
}

# hash_of FILE...: one hash for the content (not the names) of files and trees.
hash_of() {
	for h in "$@"; do
		[ -e "$h" ] || continue
		find "$h" -type f | sort | xargs -r -d '\n' sha256sum | cut -d' ' -f1
	done | sha256sum | cut -c1-16
}

# pack DIRECTORY FILE: an archive for a kernel to boot with, the same every time
pack() {
	(cd "$1" && find . -exec touch -h -d @0 '{}' + && find . | sort |
		cpio -o -H newc -R 0:0 --quiet --reproducible) >"$2"
}

# new_boot DIRECTORY BUILD SECONDS [ARCHIVE...]: describe a boot for boot.sh; what
# /rig/list is to hold comes from stdin
new_boot() {
	nb=$1
	rm -rf "$nb"
	mkdir -p "$nb"
	echo "$2" >"$nb/build"
	echo "$3" >"$nb/limit"
	shift 3
	[ $# = 0 ] || printf '%s\n' "$@" >"$nb/archives"
	touch "$nb/archives"
	cat >"$nb/list"
}
# plan_boot DIRECTORY BUILD SECONDS [ARCHIVE...]: the same, but for a boot that was
# judged, had no failure, and would be the same again; prints "boot DIRECTORY" or
# "kept DIRECTORY"
plan_boot() {
	pb_config=$(basename "$1")
	pb_config=${pb_config%@*}
	pb_list=$(cat)
	pb_key=$({
		printf '%s\n' "$pb_list"
		awk -v n="$pb_config" '$1 == n' "$RIG/configs"
		"$(emulator_of "$pb_config")" --version | head -n 1
		[ "$(config_field "$pb_config" 8)" = - ] || cat "$CACHE/emulator/stamp"
		pb_build=$2
		shift 3
		hash_of "$RIG/boot.sh" "$RIG/loader.S" "$TOP/arch-arm64/dts" "$W/tests/tests.cpio" \
			"$pb_build/arch/arm64/boot/Image" "$pb_build/modules.cpio" "$@"
	} | sha256sum | cut -d' ' -f1)
	if [ -z "${AGAIN:-}" ] && [ "$(cat "$1/passed" 2>/dev/null)" = "$pb_key" ]; then
		echo "kept $1"
		return
	fi
	printf '%s\n' "$pb_list" | new_boot "$@"
	echo "$pb_key" >"$1/key"
	echo "boot $1"
}
# judge_boot LABEL DIRECTORY: the results; without an unexpected one, it has passed
judge_boot() {
	"$RIG/report.sh" boot "$1" "$2" >"$2/results"
	cat "$2/results"
	if [ -f "$2/key" ] && "$RIG/report.sh" judge "$2/results" >"$2/judged" &&
		! grep -q '^fail' "$2/judged"; then
		mv "$2/key" "$2/passed"
	fi
}
# label_of CONFIGURATION: what its results are called; the series where it is not
# all of them that the kernel has
label_of() {
	if [ "$SERIES" = "$(all_series | tail -n 1)" ] ||
		[ "$(config_field "$1" 4)" = stock ]; then
		echo "$1"
	else
		echo "$1@$SERIES"
	fi
}

# list_for CONFIGURATION [NAME...]: what /rig/list holds in that configuration: our
# tests that SERIES has, or those of these names and what loads the modules.
list_for() {
	lf_config=$1
	shift
	# "all" does not mean the configurations that are there for something else
	all=
	case $(config_field "$lf_config" 4) in
	both | *[0-9]k) all=all ;;
	esac
	# All is slower with debugging options
	awk -v config="$lf_config" -v all="$all" -v only=" $* " -v slow="${DEBUG:+4}" \
		-v series=" - $(series_upto | tr '\n' ' ')" '
		/^#/ || NF < 5 || index(series, " " $2 " ") == 0 { next }
		index("," $1 ",", ",-" config ",") { next }
		index("," $1 ",", "," config ",") == 0 &&
			(all == "" || index("," $1 ",", ",all,") == 0) { next }
		only !~ /^ *$/ && index(only, " " $3 " ") == 0 && $3 !~ /_load$/ { next }
		{
			name = $3; limit = $4 * (slow ? slow : 1)
			for (i = 0; i < 4; i++)
				sub(/^[^ \t]+[ \t]+/, "")
			print limit, name, $0
		}' "$TOP/selftests/tests"
}
# rig_configs [KERNEL]: the names of all configurations, or of those with KERNEL, or,
# "pages", with pages of another size
rig_configs() {
	awk -v kernel="${1:-}" '!/^#/ && NF && (kernel == "" || $4 == kernel ||
		kernel == "pages" && $4 ~ /^[0-9]+k/) {
		print $1
	}' "$RIG/configs"
}
# config_field NAME N: one column of a configuration
config_field() { awk -v n="$1" -v field="$2" '$1 == n { print $field }' "$RIG/configs"; }

# emulator_of CONFIGURATION: the system's QEMU, or the one that emulator.sh has built
emulator_of() {
	[ "$(config_field "$1" 8)" != - ] || {
		echo qemu-system-aarch64
		return
	}
	[ -x "$CACHE/emulator/qemu-system-aarch64" ] || die "$1: emulator.sh has to come first"
	echo "$CACHE/emulator/qemu-system-aarch64"
}
# build_of CONFIGURATION: where its kernel is
build_of() {
	bo_kernel=$(config_field "$1" 4)
	case $bo_kernel in
	stock) echo "$CACHE/debian/stock" ;;
	[0-9]*k*) echo "$W/patched/build-$bo_kernel" ;;
	*) echo "$W/patched/$BUILD" ;;
	esac
}
# page_kernels CONFIGURATION...: those with pages of another size among their kernels
page_kernels() {
	for pk in "$@"; do
		config_field "$pk" 4
	done | grep '^[0-9]*k' | sort -u || :
}
# wants_emulator CONFIGURATION...; need_emulator builds it if one of them does
wants_emulator() {
	for we in "$@"; do
		[ "$(config_field "$we" 8)" = - ] || return 0
	done
	return 1
}
need_emulator() { ! wants_emulator "$@" || "$RIG/emulator.sh" >/dev/null; }

# The checks that boot nothing
gate_names() { (cd "$RIG/gates" && find . -name '*.sh' | sed 's|^\./||; s|\.sh$||' | sort); }

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
# show that it is alive, how long it took the last time, and the end of the log when
# it fails.
quietly() {
	q_label=$1 q_log=$2
	shift 2
	mkdir -p "$(dirname "$q_log")"
	if [ "${V:-0}" = 1 ]; then
		echo "+ $*"
		"$@"
		return
	fi
	q_took=$CACHE/took/$(echo "$q_label" | tr -c 'a-zA-Z0-9\n' _ | cut -c 1-80)
	q_last=$(cat "$q_took" 2>/dev/null || :)
	say "$q_label${q_last:+ (last time $q_last s)}"
	q_start=$(date +%s)
	(
		s=
		trap '[ -z "$s" ] || kill "$s" 2>/dev/null; exit 0' TERM INT
		while :; do
			sleep 30 9>&- &
			s=$!
			wait "$s"
			# $$ is still the script's own id: stop when it has gone
			kill -0 $$ 2>/dev/null || exit 0
			say "$q_label ... $(($(date +%s) - q_start)) s${q_last:+ of $q_last};" \
				"$(tail -n 1 "$q_log" | cut -c 1-60)"
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
	[ "$q_rc" -ne 0 ] || {
		mkdir -p "$CACHE/took"
		echo $(($(date +%s) - q_start)) >"$q_took"
	}
	[ "$q_rc" -eq 0 ] || {
		tail -n 25 "$q_log" >&2
		echo "$q_label: failed; the whole log is $q_log" >&2
	}
	return "$q_rc"
}

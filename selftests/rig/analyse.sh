# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Sourced by the gates W1 and sparse: what either says of the files that the series
# touches, on the base kernel and on the patched one, in one run for both gates.

# analyse TREE DIR: W=1 and sparse on the touched files as they are in TREE.
analyse() {
	mkdir -p "$2" "$1/build-gate"
	cp "$1/build/.config" "$1/build-gate/.config"
	sources_of "$1" >"$2/sources"
	touched_kernel_c | while read -r f; do
		grep "^$f " "$2/sources" | cut -d' ' -f2
	done | sort -u >"$2/objects"
	RIG_SPARSE_LOG=$2/sparse
	export RIG_SPARSE_LOG
	kmake() { kernel_make "$tree" build-gate arm64 "$@"; }
	tree=$1
	kmake olddefconfig prepare || return 1
	: >"$2/sparse"
	: >"$2/W1"
	# warnings appear when an object is made: make them all
	while read -r o; do
		rm -f "$tree/build-gate/$o"
	done <"$2/objects"
	# shellcheck disable=SC2046	# file names of the kernel, without blanks
	[ ! -s "$2/objects" ] || kmake -j1 W=1 C=2 CHECK="$RIG/sparse.sh" \
		$(cat "$2/objects") >"$2/W1" 2>&1 || {
		cat "$2/W1"
		return 1
	}
	# one line a finding, in touched files only, without line numbers
	touched >"$2/touched"
	for log in W1 sparse; do
		sed -n 's,^\(\.\./\)\?\([^ :]*\):[0-9:]* \(.*\(warning\|error\).*\),\2: \3,p' "$2/$log" |
			sed ':a; s,[^/ ]*/\.\./,,; ta' | grep -F -f "$2/touched" |
			sort >"$2/$log.findings" || :
	done
}
# Analysed once for both gates
analyse_both() {
	key=$(hash_inputs code arch-arm64/configs selftests/rig/sparse.sh selftests/rig/analyse.sh)
	[ "$(cat "$G/analysed" 2>/dev/null)" != "$key" ] || return 0
	rm -f "$G/analysed"
	echo "the base kernel's own findings, and the patched kernel's"
	analyse "$W/src" "$G/base" &
	aw_base=$!
	aw_rc=0
	analyse "$W/patched" "$G/patched" || aw_rc=1
	wait "$aw_base" || aw_rc=1
	[ "$aw_rc" = 0 ] || return 1
	echo "$key" >"$G/analysed"
}
# new_findings LOG: what the patched kernel has and the base has not
new_findings() {
	analyse_both || return 1
	[ -s "$G/patched/objects" ] || {
		echo "no object was analysed"
		return 1
	}
	comm -13 "$G/base/$1.findings" "$G/patched/$1.findings" >"$G/$1.new"
	cat "$G/$1.new"
	[ ! -s "$G/$1.new" ]
}

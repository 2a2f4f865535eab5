# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034	# some is for the gates
#
# Sourced by the gates, and by gates.sh, which runs them: what they share.
#
# A gate is a script in selftests/rig/gates: it prints what is wrong and exits with
# another status than 0, or is silent. Two lines at its top are read by gates.sh:
#
#   # needs: nothing | unpatched | series | patched
#	the base kernel, built; the series as commits, in $W/apply; the patched
#	kernel, built, in $W/patched
#   # inputs: what its result depends on besides itself: files and directories of the
#	repository, `series` (patches and cover letters) or `code` (what they make)
#
# A gate that has passed is not run again until one of these changes.

. "$(cd "$(dirname "$0")" && pwd | sed 's,/gates$,,')/lib.sh"

unset DEBUG
G=$LOGS/gates
mkdir -p "$G"

# hash_inputs WORD...: of the words that a gate has for its inputs
hash_inputs() {
	for i in "$@"; do
		case $i in
		series)
			hash_of "$W/source"
			for s in $(series_upto); do
				hash_of "$PATCHES/$s"
			done
			;;
		code) git -C "$W/src" log --format=%T "base..refs/rig/$SERIES" ;;
		*) hash_of "$TOP/$i" ;;
		esac
	done | sha256sum | cut -c1-16
}

# The patches of all series
patches() {
	for s in $(series_upto); do
		series_files "$s"
	done
}

# What they touch
touched() { git -C "$W/apply" diff --name-only --diff-filter=d base "refs/rig/$SERIES"; }
touched_kernel_c() { touched | grep '\.c$' | grep -v '^tools/\|^Documentation/'; }

# Objects of the kernel that are made from the C files the series touches, as
# the build of TREE recorded them.
sources_of() {
	(cd "$1/build" && find . -name '.*.o.cmd' -exec grep -h '^source_' {} +) |
		sed 's/^source_//; s/ := \.\.\// /' |
		while read -r obj src; do
			while :; do
				case $src in
				*/../*) src=$(echo "$src" | sed 's|[^/]*/\.\./||') ;;
				*) break ;;
				esac
			done
			echo "$src $obj"
		done
}

# Our own C
c_files() { find "$TOP/selftests" "$TOP/drivers" "$TOP/include" "$TOP/arch-arm64" -name '*.[ch]' 2>/dev/null; }

# allowed FILE LINE: does checkpatch.allowed have a line "<file glob> <type> <reason>"?
allowed() {
	while read -r glob type _; do
		case $glob in '#'* | '') continue ;; esac
		# shellcheck disable=SC2254	# a glob on purpose
		case $1 in
		$glob)
			case $2 in *":$type:"*) return 0 ;; esac
			;;
		esac
	done <"$RIG/checkpatch.allowed"
	return 1
}

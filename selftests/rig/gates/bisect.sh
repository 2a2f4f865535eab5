#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: unpatched
# inputs: code arch-arm64/configs selftests/modules selftests/carveout drivers include selftests/rig/build.sh
#
# Every commit builds alone, without a warning. Of most, only the C files are compiled
# that they touch, and one caller of each header that they change; where a series
# ends, all of the kernel is built and linked, and kept for prefixes.sh to boot. What
# was built before is not built again, whatever its message says by now.

. "$(dirname "$0")/../gate.sh"

tree=$W/apply
config=$(hash_of "$TOP/arch-arm64/configs")

# index TREE: "<file> <object> <source>" for each file that an object was made from,
# with the names that kbuild has for them, but for the .. in those of files
index() {
	[ ! -d "$1/build" ] || (cd "$1/build" && find . -name '.*.o.cmd' -exec cat {} +) | awk '
		function plain(f) {
			sub(/^\.\.\//, "", f)
			while (sub(/[^\/]+\/\.\.\//, "", f));
			return f
		}
		/^source_/ { o = substr($1, 8); s = plain($3); print s, o, s }
		/^  \.\.\// { print plain($1), o, s }'
}

# What a commit can break, as targets of build.sh: the objects of the C files that it
# touches, one object for each header, directories for what kbuild reads
targets_of() {
	git -C "$tree" diff --name-only "$1^" "$1" | while read -r f; do
		case $f in
		tools/testing/selftests/*) echo selftests ;;
		Documentation/*) ;;
		*.[ch]) objects_of "$1" "$f" ;;
		*) echo "$(dirname "$f")/" ;;
		esac
	done | sort -u | tr '\n' ' '
}
objects_of() {
	found=$(awk -v f="$2" '$1 == f' "$G/bisect.base")
	[ -n "$found" ] || found=$(index "$W/patched" | awk -v f="$2" '$1 == f')
	echo "$found" | {
		objects=
		while read -r _ o source; do
			git -C "$tree" cat-file -e "$1:${source:-.}" 2>/dev/null || continue
			objects="$objects $o"
			case $2 in *.h) break ;; esac
		done
		# Compiled for the first time
		echo "${objects:-$(dirname "$2")/}"
	} | tr ' ' '\n'
}

build() {
	"$RIG/build.sh" patched "$1" || {
		echo "it does not build: $(git -C "$tree" log -1 --format=%s "$1")"
		exit 1
	}
	! grep 'warning:' "$LOGS/build-patched.log" || {
		echo "it builds with warnings: $(git -C "$tree" log -1 --format=%s "$1")"
		exit 1
	}
}

index "$W/src" >"$G/bisect.base"
last=$SERIES
for s in $(series_upto); do
	# With the options of the series up to here
	SERIES=$s
	end=$(git -C "$tree" rev-parse "refs/rig/$s")
	range=$(series_before "$s")..$end
	nr=$(git -C "$tree" rev-list --count "$range")
	n=0
	for c in $(git -C "$tree" rev-list --reverse "$range"); do
		n=$((n + 1))
		say "$s $n/$nr $(git -C "$tree" log -1 --format=%s "$c")"
		if [ "$c" = "$end" ]; then
			build "$c"
			[ "$s" = "$last" ] || "$RIG/prefixes.sh" keep "$s"
			continue
		fi
		done=$W/stamps/tree-$(git -C "$tree" rev-parse "$c^{tree}")-$config
		[ ! -e "$done" ] || continue
		RIG_ONLY=$(targets_of "$c")
		export RIG_ONLY
		[ -z "$RIG_ONLY" ] || build "$c"
		unset RIG_ONLY
		touch "$done"
	done
done

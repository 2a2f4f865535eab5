#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: unpatched
# inputs: code arch-arm64/configs selftests/modules selftests/carveout drivers include selftests/rig/build.sh
#
# Every commit compiles alone, without a warning: the C files that it touches, and one
# caller of each header that it changes. Where a series ends, all of the kernel is
# built and linked, and kept for prefixes.sh to boot; the other callers of a header are
# compiled there, and drivers that the rig's kernel does not have by the gate "variants".
# What was built before is not built again, whatever its message says by now.
#
# The series are in $W/apply, which is there for the sake of `code`.

. "$(dirname "$0")/../gate.sh"

tree=$W/apply
config=$(hash_of "$TOP/arch-arm64/configs")

# index TREE: "<file> <object> <source>" for each file that an object was made from,
# with the names that kbuild has for them, but for the .. in those of files
index() {
	(cd "$1/build" && find . -name '.*.o.cmd' | sort | xargs -r cat) | awk '
		function plain(f) {
			sub(/^\.\.\//, "", f)
			while (sub(/[^\/]+\/\.\.\//, "", f));
			return f
		}
		/^source_/ { o = substr($1, 8); s = plain($3); if (s ~ /\.c$/) print s, o, s }
		/^  \.\.\// && s ~ /\.c$/ { print plain($1), o, s }'
}

# What a commit can break, as targets of build.sh: the objects of the C files that it
# touches, and one object for each header. For what kbuild reads, and for a header that
# nothing is known of (those are in $G/bisect.new), it is the directory, unless a C file
# of it is made anyway. That kbuild knows each C file by itself is seen where all of the
# kernel is built: the gate "compiled".
targets_of() {
	: >"$G/bisect.new"
	git -C "$tree" diff --name-only "$1^" "$1" >"$G/bisect.files"
	while read -r f; do
		case $f in
		tools/testing/selftests/*) echo selftests ;;
		Documentation/*) ;;
		# the rig's kernel has none of them: the gate "variants"
		drivers/vfio/pci/*/*) ;;
		*.[ch]) objects_of "$1" "$f" ;;
		*) directory_of "$f" ;;
		esac
	done <"$G/bisect.files" | sort -u | tr '\n' ' '
}
# directory_of FILE
directory_of() {
	grep -q "^$(dirname "$1")/[^/]*\.c$" "$G/bisect.files" || echo "$(dirname "$1")/"
}
objects_of() {
	found=$(awk -v f="$2" '$1 == f' "$G/bisect.base")
	[ -n "$found" ] || found=$(awk -v f="$2" '$1 == f' "$G/bisect.patched")
	objects='' tracepoints=''
	while read -r _ o source; do
		# Not of a later commit
		git -C "$tree" cat-file -e "$1:${source:-.}" 2>/dev/null || continue
		case $2 in
		*.c) objects="$objects $o" ;;
		*/trace*.h)
			: "${objects:=$o}"
			# The one that has their code
			! git -C "$tree" grep -q CREATE_TRACE_POINTS "$1" -- "$source" || tracepoints=$o
			;;
		*)
			: "${objects:=$o}"
			case $o in
			arch/arm64/kvm/* | drivers/vfio/*)
				objects=$o
				break
				;;
			esac
			;;
		esac
	done <<-END
		$found
	END
	case $2 in
	*.c) : "${objects:=${2%.c}.o}" ;;
	*)
		[ -n "$objects" ] || {
			objects=$(directory_of "$2")
			[ -z "$objects" ] || echo "$2" >>"$G/bisect.new"
		}
		;;
	esac
	# shellcheck disable=SC2086	# names
	[ -z "$objects" ] || printf '%s\n' $objects $tracepoints
}
# A directory is made without a word if nothing in it is configured
see_new() {
	[ -s "$G/bisect.new" ] || return 0
	index "$W/patched" >"$G/bisect.patched"
	while read -r f; do
		awk -v f="$f" '$1 == f { found = 1 } END { exit !found }' "$G/bisect.patched" || {
			echo "nothing is compiled of $f: $(git -C "$tree" log -1 --format=%s "$1")"
			exit 1
		}
	done <"$G/bisect.new"
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
[ -s "$G/bisect.base" ] || {
	echo "$W/src/build has no record of what the base kernel is made from"
	exit 1
}
: >"$G/bisect.patched"
[ ! -d "$W/patched/build" ] || index "$W/patched" >"$G/bisect.patched"
key=$config-$(hash_of "$0")-$(aarch64-linux-gnu-gcc -dumpfullversion)
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
		done=$W/stamps/tree-$(git -C "$tree" rev-parse "$c^^{tree}")-$(git -C "$tree" rev-parse "$c^{tree}")-$key
		[ ! -e "$done" ] || [ -n "${AGAIN:-}" ] || continue
		RIG_ONLY=$(targets_of "$c")
		export RIG_ONLY
		[ -z "$RIG_ONLY" ] || {
			build "$c"
			see_new "$c"
		}
		unset RIG_ONLY
		touch "$done"
	done
done

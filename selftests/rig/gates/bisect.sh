#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: series
# inputs: code arch-arm64/configs selftests/modules selftests/carveout drivers include selftests/rig/build.sh
#
# Every commit builds alone, without a warning. Of most, only the directories are
# compiled that they touch, and the callers of the headers that they change; where a
# series ends, all of the kernel is built and linked, and kept for prefixes.sh to
# boot. What was built before is not built again, whatever its message says by now.

. "$(dirname "$0")/../gate.sh"

tree=$W/apply
config=$(hash_of "$TOP/arch-arm64/configs")

# What a commit can break
parts_of() {
	git -C "$tree" diff --name-only "$1^" "$1" | while read -r f; do
		case $f in
		tools/testing/selftests/*) echo selftests ;;
		include/uapi/* | arch/arm64/include/uapi/*)
			echo selftests
			echo arch/arm64/kvm/ drivers/vfio/
			;;
		Documentation/*) ;;
		virt/kvm/*.[ch] | include/linux/kvm* | arch/arm64/kvm/* | arch/arm64/include/asm/kvm*)
			echo arch/arm64/kvm/
			;;
		drivers/vfio/* | include/linux/vfio*) echo drivers/vfio/ ;;
		*.c) echo "$(dirname "$f")/" ;;
		*) echo arch/arm64/kvm/ arch/arm64/mm/ drivers/vfio/ mm/ ;;
		esac
	done | tr ' ' '\n' | sort -u | tr '\n' ' '
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

for s in $(series_upto); do
	end=$(git -C "$tree" rev-parse "refs/rig/$s")
	range=$(series_before "$s")..$end
	nr=$(git -C "$tree" rev-list --count "$range")
	n=0
	for c in $(git -C "$tree" rev-list --reverse "$range"); do
		n=$((n + 1))
		printf '%s\n' "[$s $n/$nr] $(git -C "$tree" log -1 --format=%s "$c")"
		if [ "$c" = "$end" ]; then
			SERIES=$s build "$c"
			[ "$s" = "$SERIES" ] || "$RIG/prefixes.sh" keep "$s"
			continue
		fi
		done=$W/stamps/tree-$(git -C "$tree" rev-parse "$c^{tree}")-$config
		[ ! -e "$done" ] || continue
		RIG_ONLY=$(parts_of "$c")
		export RIG_ONLY
		[ -z "$RIG_ONLY" ] || build "$c"
		unset RIG_ONLY
		touch "$done"
	done
done

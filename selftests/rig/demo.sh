#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: demo.sh [plan|results]
#
# make demo: boots guests on an unmodified VMM in the rig's machine, on a CPU
# without FEAT_S2FWB and on one with it, on the patched kernel and, where the
# guest uses nothing of it, on the base kernel. Prints a table and where the
# picture is. For check.sh, "plan" says which boots it takes and "results" prints
# what came of them, one a line.

. "$(dirname "$0")/lib.sh"

demo=$TOP/selftests/demo
mode=${1:-table}
lock
dir=$LOGS/demo
mkdir -p "$dir/unpatched" "$dir/patched"

# The same content makes the same archive, so that a boot can be known to be the same
# archive BUILD FILE: an archive with the kernel and the user space of the guests
archive() {
	root=$dir/root
	rm -rf "$root"
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
	install -m 755 "$CACHE/busybox/bin/busybox" "$dir/bin/mem" "$root/bin"
	install -m 755 "$demo/guest" "$root/init"
	pack "$root" "$dir/initrd"
	rm -rf "$root"
	mkdir -p "$root/demo/commands"
	awk -v dir="$root/demo/commands" -f "$demo/commands.awk" \
		"$TOP/Documentation/real-vmm.rst"
	cp "$1/arch/arm64/boot/Image" "$dir/initrd" "$dir/bin/mem" "$dir/bin/qmp" \
		"$demo/l1.sh" "$demo"/l1-* "$root/demo"
	pack "$root" "$2"
	rm -rf "$root"
}
configs='n1 n2'
# Guests (selftests/demo/l1-NAME) on a kernel, in every configuration. The disk that
# is passed through: the first MiB is what the guest must find, the second is what
# it writes.
plan_guests() {
	which=$1
	shift
	build=$W/patched/$BUILD
	[ "$which" = patched ] || build=$W/src/$BUILD
	archive "$build" "$dir/$which.cpio"
	for c in $configs; do
		b=$dir/$which/$c
		for t in "$@"; do
			case $t in
			rings | nopool) echo "300 $t sh /demo/l1-rings $t" ;;
			*) echo "300 $t sh /demo/l1-$t" ;;
			esac
		done | plan_boot "$b" "$build" 900 "$CACHE/vmm/vmm.cpio" "$dir/$which.cpio" >"$dir/planned"
		cat "$dir/planned"
		! grep -q ^kept "$dir/planned" || continue
		"$demo/pattern.py" make 1 0x100000 >"$b/disk"
		truncate -s 16M "$b/disk"
		cat >"$b/extra" <<-END
			-drive
			if=none,id=disk,format=raw,file=$b/disk
			-set
			device.nvme.drive=disk
		END
	done
}

plan() {
	"$RIG/base.sh" >&2
	"$RIG/build.sh" unpatched >&2
	"$RIG/build.sh" patched >&2
	"$RIG/initramfs.sh" tests >&2
	"$RIG/initramfs.sh" modules "$W/src/build" >&2
	"$RIG/initramfs.sh" modules "$W/patched/build" >&2
	"$RIG/vmm.sh" >&2
	quietly "building the guests' programs" "$dir/log" make -s -C "$demo" OUT="$dir/bin" >&2
	plan_guests unpatched plain vfio unplug
	plan_guests patched plain vfio unplug carveout rings nopool
}

# host_test NAME COMMAND...: a result of something that is done here
host_test() {
	name=$1
	shift
	if why=$("$@" 2>&1); then
		printf 'pass\t%s\t\n' "$name"
	else
		printf 'fail\t%s\t%s\n' "$name" "$(echo "$why" | tail -n 1)"
	fi
}
# results_of CONFIGURATION KERNEL NAME: what one boot says, under that name
results_of() {
	b=$dir/$2/$1
	# a failed test of l1.sh says why in a comment
	"$RIG/report.sh" boot "$3" "$b" | awk -F '\t' '
		NR == FNR {
			if (sub(/^\| # /, "")) {
				name = $0
				sub(/:.*/, "", name)
				sub(/^[^:]*: */, "")
				why[name] = $0
			}
			next
		}
		{
			name = $2
			sub(/.*\//, "", name)
			print ($1 == "fail" && $3 == "") ? $0 why[name] : $0
		}' "$b/port.log" -
	# files for whoever has to look, the logs of the guests' kernels among them
	sed -n 's/^FILE //p' "$b/port.log" | while read -r f; do
		file_of "$b/port.log" "$f" >"$b/$f"
		[ "$f" = "${f%.console}" ] || "$RIG/report.sh" log "$3/${f%.console}/guest" "$b/$f"
	done
	host_test "$3/vfio/nvme-disk-on-host" "$demo/pattern.py" check "$b/disk" 0x100000 0x100000 2
	[ "$2" = unpatched ] ||
		host_test "$3/carveout/pixels" "$demo/card.py" "$b/card.raw" 640 480 "$b/card.png"
}

results() {
	for c in $configs; do
		results_of "$c" unpatched "demo-$c/unpatched" >"$dir/unpatched/$c.tsv"
		results_of "$c" patched "demo-$c" >"$dir/patched/$c.tsv"
		cat "$dir/unpatched/$c.tsv" "$dir/patched/$c.tsv"
		for k in unpatched patched; do
			grep -q ^fail "$dir/$k/$c.tsv" || [ ! -f "$dir/$k/$c/key" ] ||
				mv "$dir/$k/$c/key" "$dir/$k/$c/passed"
		done
		# what is said on the unpatched kernel is said on the patched one, too
		cut -f 1,2 "$dir/unpatched/$c.tsv" | sed 's|/unpatched/|/|' | sort >"$dir/unpatched/$c.said"
		cut -f 1,2 "$dir/patched/$c.tsv" | sort >"$dir/patched/$c.said"
		comm -23 "$dir/unpatched/$c.said" "$dir/patched/$c.said" |
			tr '\t\n' ' ;' >"$dir/unpatched/$c.only"
		if [ ! -s "$dir/unpatched/$c.only" ]; then
			printf 'pass\tdemo-%s/same-as-unpatched\t\n' "$c"
		else
			printf 'fail\tdemo-%s/same-as-unpatched\tonly there: %s\n' "$c" \
				"$(cat "$dir/unpatched/$c.only")"
		fi
	done
}

case $mode in
plan)
	plan
	exit
	;;
results)
	results
	exit
	;;
table) ;;
*) die "plan or results?" ;;
esac
"$RIG/tools.sh"
plan >"$dir/boots"
boots=$(sed -n 's/^boot //p' "$dir/boots")
# shellcheck disable=SC2086	# paths of ours, without blanks
[ -z "$boots" ] || "$RIG/boots.sh" $boots
results >"$dir/results.tsv"

# The rows of the table: which results, and what they say together
rc=0
awk -F '\t' '
	NR == FNR {
		row[++n] = $1
		text[n] = $2
		next
	}
	{
		c = name = $2
		sub(/\/.*/, "", c)
		sub(/^[^\/]*\//, "", name)
		for (i = 1; i <= n && name !~ "^(" row[i] ")$"; )
			i++
		total[c, i]++
		if ($1 != "pass") {
			bad[c, i]++
			why = why "  " $2 (($3 == "") ? "" : ": " $3) "\n"
		}
	}
	function cell(c, i) {
		if (!total[c, i]) {
			why = why "  " c ": not run: " text[i] "\n"
			return "NOT RUN"
		}
		return bad[c, i] ? bad[c, i] " FAILED" : total[c, i] " passed"
	}
	END {
		printf "\n%-58s %10s %10s\n", "", "n1", "n2"
		for (i = 1; i <= n; i++)
			printf "%-58s %10s %10s\n", text[i], cell("demo-n1", i), cell("demo-n2", i)
		print "\n(n1: neoverse-n1, without FEAT_S2FWB; n2: neoverse-n2, with it)"
		if (why != "")
			printf "\nFailed:\n%s", why
		exit why != ""
	}' - "$dir/results.tsv" <<END || rc=1
.*guest/kernel-log|.*kernel-log|.*power-off	kernel logs, of hosts and guests; power off
plain/.*	boot, guest reboot, pause, resume, resets, quit
vfio/(memcpy.*|prefetchable-bar)	ivshmem by vfio-pci: memcpy, unaligned, write-combine
vfio/.*	nvme by vfio-pci: disk, MSIs, reset, no MSI-X table
unplug/.*	a virtual function, a device behind a port: taken away
unpatched/.*|same-as-unpatched	all that on the unpatched kernel: the same
carveout/(pixels|picture|draw)	a picture in the carve-out, pixel by pixel
carveout/.*	ivshmem in the carve-out: 1 MiB each way, the audit
rings/.*	disk, not dma-coherent: rings in the carve-out's pool
nopool/.*	the same disk without the pool: NC in the guest, WB here
END
printf '\nThe audit, of the rings of the disk that is not dma-coherent, with the pool and\nwithout it: %s\n' \
	"slot, guest range, host pfns, stage 2, VMM, linear map"
for c in $configs; do
	for t in rings nopool; do
		sed "s/^/  $c $t /" "$dir/patched/$c/$t.ring" || rc=1
	done
done
echo
echo "pictures: $dir/patched/n1/card.png $dir/patched/n2/card.png"
echo "logs: $dir"
exit $rc

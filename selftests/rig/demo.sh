#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: demo.sh [plan|results [vmm|display]]
#
# make demo: boots guests on an unmodified VMM in the rig's machine, on a CPU
# without FEAT_S2FWB and on one with it, on the patched kernel and, where the
# guest uses nothing of it, on the base kernel; and on the patched VMM, which has
# displays in the carve-out, the same, with what it refuses on either kernel. Prints a
# table and where the pictures are. For check.sh, "plan" says which boots it takes and
# "results" prints what came of them, one a line; with "vmm", of those on the patched VMM,
# with "display" of the few of these that show what it is for.
# If nothing of that fails, Documentation/qemu-exits.txt has what redraws cost, unless the
# kernel was KERNEL='s.

. "$(dirname "$0")/lib.sh"

demo=$TOP/selftests/demo
mode=${1:-table}
lock
dir=$LOGS/demo
case "$mode ${2:-}" in
'table ') groups='unpatched patched unpatched-qemu patched-qemu' ;;
'plan vmm' | 'results vmm') groups='unpatched-qemu patched-qemu' ;;
'plan ' | 'results ') groups='unpatched patched' ;;
'plan display' | 'results display') groups=display-qemu ;;
*) die "plan or results?" ;;
esac
has() { case " $groups " in *" $1 "*) ;; *) return 1 ;; esac; }
for g in $groups; do
	mkdir -p "$dir/$g"
done

# qemu_archive PROGRAM KERNEL FIRMWARE FILE: an archive with the patched VMM, which finds
# its data where the other one has them, and with a distribution's kernel and firmware for
# its guests
qemu_archive() {
	root=$dir/root
	rm -rf "$root"
	mkdir -p "$root/modules"
	cp "$2/order" "$2"/modules/*.ko "$root/modules"
	pack "$root" "$dir/modules.cpio"
	rm -rf "$root"
	mkdir -p "$root/qemu/bin"
	install -m 755 "$1" "$root/qemu/bin"
	ln -s /usr/share "$root/qemu/share"
	cp "$2/vmlinuz" "$3" "$root/qemu"
	cat "$LOGS/guests/initrd" "$dir/modules.cpio" "$2/kexec.cpio" >"$root/qemu/distro.initrd"
	pack "$root" "$4"
	rm -rf "$root"
}
configs='n1 n2'
# kernel_of GROUP
kernel_of() {
	case $1 in
	unpatched*) echo unpatched ;;
	*) echo patched ;;
	esac
}
# pictures_of GROUP: the guests of the patched VMM of which one is kept
pictures_of() {
	case $1 in
	display-qemu) echo vga distro ;;
	patched-qemu) echo bochs vga secondary distro firmware ;;
	esac
}
# Guests (selftests/demo/l1-NAME) on a kernel, in every configuration; in a group
# with the patched VMM that is the one they get. The disk that is passed through: the
# first MiB is what the guest must find, the second is what it writes.
plan_guests() {
	group=$1
	shift
	build=$W/patched/$BUILD host=$(kernel_of "$group")
	[ "$host" = patched ] || build=$W/src/$BUILD
	env=
	set -- "$@" -- "$CACHE/vmm/vmm.cpio" "$dir/$host.cpio"
	[ "$group" = "${group%-qemu}" ] || {
		env='PATCHED=1 '
		set -- "$@" "$dir/qemu.cpio"
	}
	names=
	while [ "$1" != -- ]; do
		names="$names $1"
		shift
	done
	shift
	for c in $configs; do
		b=$dir/$group/$c
		for t in $names; do
			case $t in
			rings | nopool) script="rings $t" ;;
			strict | combine) script="vfio $t" ;;
			bochs | vga | secondary | distro | firmware | ring | barfile | ordinary)
				script="display $t" ;;
			fault | evicted) script="fault $t" ;;
			refused) script="refused $host" ;;
			*) script=$t ;;
			esac
			echo "600 $t ${env}sh /demo/l1-$script"
		done | plan_boot "$b" "$build" 2400 "$@" >"$dir/planned"
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
	"$RIG/guests.sh" "$W/src/build" "$dir/unpatched.cpio" >&2
	"$RIG/guests.sh" "$W/patched/build" "$dir/patched.cpio" >&2
	if has patched; then
		plan_guests unpatched plain vfio unplug
		plan_guests patched plain vfio unplug carveout shared rings nopool limits
	fi
	has patched-qemu || has display-qemu || return 0
	program=$("$RIG/qemu.sh")
	kernel=$("$RIG/distro-guest.sh")
	firmware=$("$RIG/edk2.sh")
	qemu_archive "$program" "$kernel" "$firmware" "$dir/qemu.cpio"
	! has display-qemu || plan_guests display-qemu vga distro refused
	has patched-qemu || return 0
	plan_guests unpatched-qemu plain vfio unplug refused
	plan_guests patched-qemu plain vfio bochs vga secondary distro firmware ring barfile \
		ordinary exits migrate hotplug strict combine fault evicted refused
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
	[ "$2" = display-qemu ] ||
		host_test "$3/vfio/nvme-disk-on-host" "$demo/pattern.py" check "$b/disk" 0x100000 0x100000 2
	[ "$2" != patched ] ||
		host_test "$3/carveout/pixels" "$demo/card.py" "$b/card.raw" 640 480 "$b/card.png"
	for t in $(pictures_of "$2"); do
		host_test "$3/$t/pixels" "$demo/card.py" "$b/$t.ppm" 640 480 "$b/$t.png"
	done
}
# same_as CONFIGURATION GROUP OTHER NAME: what is said in one group is said in the other,
# too
same_as() {
	cut -f 1,2 "$dir/$2/$1.tsv" | sed "s|/$2/|/|" | sort >"$dir/$2/$1.said"
	cut -f 1,2 "$dir/$3/$1.tsv" | sed "s|/$3/|/|" | sort >"$dir/$3/$1.said"
	comm -23 "$dir/$2/$1.said" "$dir/$3/$1.said" | tr '\t\n' ' ;' >"$dir/$2/$1.only"
	if [ ! -s "$dir/$2/$1.only" ]; then
		printf 'pass\tdemo-%s/%s\t\n' "$1" "$4"
	else
		printf 'fail\tdemo-%s/%s\tonly there: %s\n' "$1" "$4" "$(cat "$dir/$2/$1.only")"
	fi
}

# exits_table: what l1-exits has counted, and what that is of
exits_table() {
	echo "base $(head -n 1 "$W/source")"
	echo "series $("$RIG/figures.sh" code), QEMU's $(hash_of "$TOP/patches/qemu-$QEMU_RELEASE")"
	echo "emulator $("$(emulator_of n1)" --version | head -n 1), on $(nproc) CPUs"
	echo
	for c in $configs; do
		sed "s/^/$(config_field "$c" 2) /" "$dir/patched-qemu/$c/exits"
	done | awk '
		BEGIN { printf "%-12s %-8s %12s %10s\n", "", "display", "ordinary RAM", "carve-out" }
		{ printf "%-12s %-8s %12d %10d  %.2f times as many\n", $1, $2, $3, $4, $4 / $3 }'
}

results() {
	for c in $configs; do
		for g in $groups; do
			name=demo-$c/$g
			[ "$g" != patched ] || name=demo-$c
			results_of "$c" "$g" "$name" >"$dir/$g/$c.tsv"
			cat "$dir/$g/$c.tsv"
			grep -q ^fail "$dir/$g/$c.tsv" || [ ! -f "$dir/$g/$c/key" ] ||
				mv "$dir/$g/$c/key" "$dir/$g/$c/passed"
		done
		! has patched || same_as "$c" unpatched patched same-as-unpatched
		if has patched && has patched-qemu; then
			same_as "$c" unpatched unpatched-qemu patched-qemu-is-no-other
		fi
	done
	has patched-qemu && [ -z "${KERNEL:-}" ] || return 0
	for g in $groups; do
		for c in $configs; do
			! grep -q ^fail "$dir/$g/$c.tsv" || return 0
		done
	done
	exits_table >"$dir/exits"
	cp "$dir/exits" "$TOP/Documentation/qemu-exits.txt"
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
esac
"$RIG/tools.sh" emulator
plan >"$dir/boots"
"$RIG/model.sh" plan vmm >>"$dir/boots"
boots=$(sed -n 's/^boot //p' "$dir/boots")
# shellcheck disable=SC2086	# paths of ours, without blanks
[ -z "$boots" ] || "$RIG/boots.sh" $boots
results >"$dir/results.tsv"
"$RIG/model.sh" results vmm >"$dir/model.tsv"

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
patched-qemu/(bochs|vga|secondary)/.*	patched QEMU: displays in the carve-out, pixel by pixel
patched-qemu/distro/.*	VGA, drawn by a distribution's kernel (DRM_BOCHS)
patched-qemu/firmware/.*	the same, started by EDK2, and once more by kexec
patched-qemu/ring/.*	the same with the dirty ring
patched-qemu/barfile/.*	a display in a PCI device's BAR, by resource0_wc
patched-qemu/ordinary/.*	a display in ordinary memory: another verdict
patched-qemu/exits/.*	a redraw, at most 1.10 times the exits of ordinary memory
patched-qemu/migrate/.*	carve-out to a file, to RAM, to the carve-out
patched-qemu/hotplug/.*	a display in the carve-out: unplugged, and another one
patched-qemu/strict/.*	x-barN-memtype=strict: no write-combining
patched-qemu/combine/.*	=write-combine, by iommufd, a display beside it
patched-qemu/(fault|evicted)/.*	memory that is taken away: which, and why
.*-qemu/refused/.*	what it refuses, a sentence each, on both kernels
(un)?patched-qemu/.*|patched-qemu-is-no-other	patched QEMU, nothing of that used: as before
plain/.*	boot, guest reboot, pause, resume, resets, quit
vfio/(memcpy.*|prefetchable-bar)	ivshmem by vfio-pci: memcpy, unaligned, write-combine
vfio/.*	nvme by vfio-pci: disk, MSIs, reset, no MSI-X table
unplug/.*	a virtual function, a device behind a port: taken away
unpatched/.*|same-as-unpatched	all that on the unpatched kernel: the same
carveout/(pixels|picture|draw)	a picture in the carve-out, pixel by pixel
carveout/.*	ivshmem in the carve-out: 1 MiB each way, the audit
shared/.*	two VMMs and a program share one buffer of the carve-out
rings/.*	disk, not dma-coherent: rings in the carve-out's pool
limits/.*	carve-out BARs: what QEMU does not survive, and what it does
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
echo "          $dir/patched-qemu/n1/distro.png $dir/patched-qemu/n2/distro.png"
echo "logs: $dir $LOGS/model"
printf '\nThe same with a cache model: what the VMM saw of a framebuffer that its guest maps\nwrite-combine\n\n'
"$RIG/model.sh" table vmm
! grep '^fail' "$dir/model.tsv" || rc=1
exit $rc

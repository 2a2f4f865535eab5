#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: package.sh [release...]
#
# make deb-test: does with the Debian package what who has downloaded it does, on
# Debian 12 and 13 for arm64: apt installs it where the release's own dkms, compiler
# and kernel headers are, then the headers of the newest kernel in its backports, and
# purges it again. Maintainer scripts, dkms, kernel build and udevadm are Debian's
# own, for arm64, run by qemu-user (or natively, on arm64). What is tried:
#
# - lintian has nothing to say;
# - the package installs; the module is built and installed for a kernel from 6.12
#   on, at once or when its headers come later, and not for an older one;
# - modinfo and modprobe find it for that kernel, also by the device tree's alias;
# - udevadm takes the rule, and gives a node of ours group and mode, and what the
#   administrator's own rule says goes before it;
# - purge leaves nothing behind.
#
# It boots nothing, so it cannot show that the module loads (`make check` does, on the
# kernel of Debian 13), that a reboot reads modules-load.d and modprobe.d, what the
# signature is worth with Secure Boot, or that the kernel's device has the name and
# subsystem that the rule asks for: udevadm is given a device that is made up, whose
# node it cannot touch, and says what it would do.
#
# Each release has an archive with its packages; it is unpacked into a tmpfs. That, the
# registration of qemu-user and all processes are in namespaces of their own, of a user
# who need not be root, and go away with them. What has passed is not tried again
# until the package, the kernels or this script change. UPDATE=1 looks for newer
# kernels.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
. "$(dirname "$0")/chroot.sh"

dir=$CACHE/package
minimum=6.12
name=carveout-heap
module=carveout_heap
mnt=/mnt
root=$mnt/root
alias=of:Npool@0T\(null\)Clinux,carveout-heap
# Of a kernel no initramfs is made: that takes minutes, and nothing boots
export INITRD=No

# ---- outside: this system

# make_root RELEASE: the archive, and what is in it
make_root() {
	rm -f "$dir/$1".*
	{
		for suite in "$1" "$1-backports"; do
			echo "deb [signed-by=$KEYRING] $(debian_mirror) $suite main"
		done
	} >"$dir/$1.list"
	# What this system's apt has been told about proxies and dates
	apt-config dump Acquire | sed -n '/[Pp]roxy\|Check-\|Retries/p' >"$dir/$1.apt.conf"
	in_namespaces make_inside "$1"
	[ "$(wc -w <"$dir/$1.kernels")" -ge 2 ]
	mv "$dir/$1.tar.new" "$dir/$1.tar"
}

# ---- inside: namespaces, still with this system's files

# The release's own headers are installed; those of the backports, and what the package
# recommends, are only fetched
make_inside() {
	export TMPDIR=$mnt/tmp
	mmdebstrap --mode=root --architectures=arm64 --variant=apt \
		--format=tar --skip=check/qemu,chroot/mount/sys,cleanup/apt,output/dev \
		--aptopt="$dir/$1.apt.conf" --aptopt='Acquire::Languages "none"' \
		--include=dkms,gcc,kmod,udev,linux-headers-arm64 \
		--customize-hook="$RIG/package.sh fetch_later $1 \"\$1\"" \
		"$1" "$dir/$1.tar.new" "$dir/$1.list"
}

# A hook of mmdebstrap's, with the apt of outside
fetch_later() {
	export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
	apt-get clean
	apt-get install -y --download-only openssl
	apt-get install -y --download-only -t "$1-backports" linux-headers-arm64
	{
		ls "$2/lib/modules"
		find "$2/var/cache/apt/archives" -name 'linux-headers-[0-9]*-arm64_*.deb' |
			sed 's|.*/linux-headers-\([^_]*\)_.*|\1|'
		dpkg-query --admindir="$2/var/lib/dpkg" -W -f '${Package}-${Version}\n' dkms
	} >"$dir/$1.kernels"
}

in_chroot() {
	chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive QEMU_CPU="$QEMU_CPU" \
		QEMU_UNAME="$kernel" INITRD=No "$@"
}

# result NAME COMMAND...: a line of the results; why is the last line that it prints
result() {
	printed=$mnt/$1.out
	line=$release/$1
	shift
	echo "== $line"
	(
		r=0
		"$@" || r=$?
		echo $r >"$printed.status"
	) 2>&1 | tee "$printed"
	if [ "$(cat "$printed.status")" = 0 ]; then
		printf 'pass\t%s\t\n' "$line"
	else
		printf 'fail\t%s\t%s\n' "$line" "$(grep -v '^$' "$printed" | tail -n 1 | tr '\t' ' ')"
	fi >>"$dir/$release.tsv"
}

# What result() runs. There is no -e in here: what matters returns.

installed_for() {
	status=$(in_chroot dkms status -m "$name" -k "$1")
	echo "dkms status: $status"
	case $status in *"$1, aarch64: installed") ;; *) return 1 ;; esac
	ko=$(find "$root/lib/modules/$1/" -name "$module.ko*")
	case $ko in
	"$root/lib/modules/$1/updates/dkms/$module.ko"*) ;;
	*) echo "where is $module.ko? $ko" && return 1 ;;
	esac
	# dkms 3.2 does not call depmod where there are headers without a kernel
	[ -s "$root/lib/modules/$1/modules.dep" ] || in_chroot depmod "$1"
	vermagic=$(in_chroot modinfo -k "$1" -F vermagic "$module")
	echo "vermagic: $vermagic"
	case $vermagic in "$1 "*aarch64*) ;; *) return 1 ;; esac
	signer=$(in_chroot modinfo -k "$1" -F signer "$module")
	echo "signer: $signer"
	[ -n "$signer" ] || return 1
	loads=$(in_chroot modprobe -S "$1" -R "$alias")
	echo "$alias is $loads"
	[ "$loads" = "$module" ]
}

# older than the module can be built for
left_out_for() {
	status=$(in_chroot dkms status -m "$name" -k "$1")
	echo "dkms status: $status"
	case $status in *installed* | *built*) return 1 ;; esac
	ko=$(find "$root/lib/modules/$1/" -name "$module.ko*")
	[ -z "$ko" ] || {
		echo "it is there: $ko"
		return 1
	}
	grep 'BUILD_EXCLUSIVE' "$mnt/install.out" || {
		echo "dkms does not say why it has built nothing"
		return 1
	}
}

module_for() {
	if dpkg --compare-versions "$1" ge "$minimum"; then
		installed_for "$1"
	else
		left_out_for "$1"
	fi
}

files() {
	for f in /usr/lib/udev/rules.d/60-carveout-heap.rules \
		/etc/modprobe.d/carveout-heap.conf /etc/modules-load.d/carveout-heap.conf \
		"/usr/src/$name-$version/dkms.conf" \
		"/usr/share/doc/$name-dkms/examples/overlay.sh"; do
		owner=$(in_chroot dpkg -S "$f")
		echo "$owner"
		if [ ! -s "$root$f" ] || [ "${owner%%:*}" != "$name-dkms" ]; then
			echo "$f is missing, or not of the package"
			return 1
		fi
	done
	# Nothing of it is in force yet
	! grep -v '^ *\(#\|$\)' "$root/etc/modprobe.d/carveout-heap.conf" \
		"$root/etc/modules-load.d/carveout-heap.conf"
}

apt() { in_chroot apt-get -y "$@"; }

udev_verify() {
	in_chroot udevadm verify /usr/lib/udev/rules.d/60-carveout-heap.rules
}

# udev_gives NAME GROUP MODE: does the node of a miscdevice of that name get them?
udev_gives() {
	d=/sys/devices/virtual/misc/$1
	mkdir -p "$root$d" "$root/sys/class/misc"
	ln -sfn ../../../../class/misc "$root$d/subsystem"
	printf 'MAJOR=10\nMINOR=127\nDEVNAME=dma_heap/%s\n' "$1" >"$root$d/uevent"
	echo 10:127 >"$root$d/dev"
	in_chroot env SYSTEMD_DEVICE_VERIFY_SYSFS=0 udevadm test --action=add "$d" \
		>"$mnt/udev" 2>&1 || {
		tail -n 5 "$mnt/udev"
		return 1
	}
	gid=$(sed -n 's/.*\.rules:[0-9]* GROUP //p' "$mnt/udev" | tail -n 1)
	mode=$(sed -n 's/.*\.rules:[0-9]* MODE //p' "$mnt/udev" | tail -n 1)
	group=$(awk -F : -v gid="${gid:--}" '$3 == gid { print $1 }' "$root/etc/group")
	echo "$1: group ${group:-none}, mode ${mode:-none}, $(grep -o '\<TAGS=.*' "$mnt/udev" | head -n 1)"
	[ "$group $mode" = "$2 $3" ]
}
udev_test() {
	mine=$root/etc/udev/rules.d/70-mine.rules
	echo 'KERNEL=="carveout-vm1", GROUP="video", MODE="0640"' >"$mine"
	r=1
	udev_gives carveout-vm0 kvm 0660 && grep -q '\<TAGS=.*:systemd:' "$mnt/udev" &&
		udev_gives carveout-vm1 video 0640 && udev_gives something-else '' '' && r=0
	rm "$mine"
	return $r
}

# What no package owns: dkms and depmod keep notes of their own, dkms a key
files_now() {
	find "$root" -xdev \( -path "$root/proc" -o -path "$root/sys" -o -path "$root/dev" \
		-o -path "$root/tmp" -o -path "$root/run" -o -path "$root/var/lib/dpkg" \
		-o -path "$root/var/lib/apt" -o -path "$root/var/cache" -o -path "$root/var/log" \) \
		-prune -o -print | sed "s|^$root||" | sort
}
gone() {
	files_now >"$mnt/after"
	# Directories of packages are in their lists under the names of before /usr was merged
	{
		cat "$mnt/before" "$mnt/headers" "$root"/var/lib/dpkg/info/*.list
		sed -n 's|^\(/lib/\)|/usr\1|p' "$root"/var/lib/dpkg/info/*.list
	} | sort -u >"$mnt/known"
	left=$(comm -13 "$mnt/known" "$mnt/after" |
		grep -v '/lib/modules/[^/]*/modules\.[a-z.]*$\|^/var/lib/dkms/mok\.[a-z]*$')
	[ -z "$left" ] || {
		echo "$left" | sed 's/^/left behind: /'
		return 1
	}
	grep 'carveout' "$mnt/after" && return 1
	! in_chroot dpkg -s "$name-dkms"
}

try_inside() {
	release=$1 deb=$2
	version=$(dpkg-deb -f "$deb" Version)
	tar -C "$root" --numeric-owner -xpf "$dir/$release.tar"
	mkdir -p "$root/dev"
	mount -t proc -o ro proc "$root/proc"
	for n in null zero full random urandom; do
		: >"$root/dev/$n"
		mount --bind "/dev/$n" "$root/dev/$n"
	done
	for n in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
		ln -sfn "${n#*:}" "$root/dev/${n%%:*}"
	done
	mkdir "$root/dev/pts"
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	cp "$deb" "$root/tmp/"
	chmod 644 "$root"/tmp/*.deb
	kernel=$(ls "$root/lib/modules")
	later=$(sed -n 2p "$dir/$release.kernels")
	files_now >"$mnt/before"

	result install apt install "/tmp/$(basename "$deb")"
	result "kernel-$kernel" module_for "$kernel"
	result files files
	# Debian 12's has no such verb
	! in_chroot udevadm --help | grep -q '^ *verify' || result udev-verify udev_verify
	result udev-test udev_test
	files_now >"$mnt/without"
	result headers-later apt install --no-install-recommends \
		-t "$release-backports" linux-headers-arm64
	# What came with them is theirs, but for what dkms has made of ours
	files_now | comm -13 "$mnt/without" - | grep -v 'carveout' >"$mnt/headers" || :
	result "kernel-$later" module_for "$later"
	result purge apt purge "$name-dkms"
	result nothing-left gone
}

case ${1:-} in
init | make_inside | fetch_later | try_inside)
	"$@"
	exit
	;;
esac

# ---- outside again

"$RIG/tools.sh" package chroot
lock
[ $# -gt 0 ] || set -- bookworm trixie
mkdir -p "$dir" "$LOGS"
log=$LOGS/package.log
rm -rf "$dir/deb"
deb=$("$TOP/drivers/deb.sh" "$dir/deb")
# Version and dates are those of the last commit, whatever it was about
made_from="$(hash_of "$TOP/drivers" "$TOP"/arch-arm64/*.[ch] \
	"$TOP/Documentation/carveout-heap.rst" "$0") $(dpkg-query -W debhelper dh-dkms)"

get_emulator
why=$(lintian --allow-root "$deb" 2>&1 | tail -n 1 | tr '\t' ' ')
verdict=pass
[ -z "$why" ] || verdict=fail
printf '%s\tpackage/lintian\t%s\n' $verdict "$why" >"$dir/results.tsv"
for release in "$@"; do
	log=$LOGS/package-$release.log
	if [ ! -f "$dir/$release.tar" ] || [ -n "${UPDATE:-}" ]; then
		: >"$log"
		quietly "making a chroot of $release for arm64" "$log" make_root "$release"
	fi
	key="$made_from $(cat "$dir/$release.kernels")"
	if [ "$(cat "$dir/$release.passed" 2>/dev/null)" != "$key" ] || [ -n "${AGAIN:-}" ]; then
		rm -f "$dir/$release.passed" "$dir/$release.tsv"
		quietly "trying the package on $release" "$log" \
			in_namespaces try_inside "$release" "$deb" ||
			printf 'fail\t%s/end\tit did not come to its end: %s\n' "$release" "$log" \
				>>"$dir/$release.tsv"
		grep -q '^fail' "$dir/$release.tsv" || echo "$key" >"$dir/$release.passed"
	fi
	cat "$dir/$release.tsv" >>"$dir/results.tsv"
done
"$RIG/report.sh" summary "$dir/results.tsv"

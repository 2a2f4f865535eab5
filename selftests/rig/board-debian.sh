#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make board-test: does with the tarball of `make board` what somebody does who has a board
# with Debian 13: boots it (the release's own kernel and init, an emulated machine), copies
# the tarball there with scp, has apt install the package and dkms build the module, loads
# it with a pool, calls ./run and fetches the report. Then: the bindings of drivers and the
# modules are those of before, the report names neither the machine nor its addresses, the
# kernel's log is clean, and the package is purged.
#
# The root file system is made of the release's packages once, by programs for arm64 that
# qemu-user runs; what the guest's apt fetches comes from the same archive, by the
# emulator's network. UPDATE=1 makes it again. What is written to the disk is forgotten.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
. "$(dirname "$0")/chroot.sh"

mnt=/mnt
release=trixie
dir=$CACHE/board-debian
hostname=board-of-somebody
# The device whose BAR 2 is memory, and one whose BAR 0 is, and which has a driver
bar=0000:00:05.0:2
busy=0000:00:04.0:0

make_disk() {
	rm -f "$dir/disk" "$dir/vmlinuz" "$dir/initrd"
	echo "deb [signed-by=$KEYRING] $(debian_mirror) $release main" >"$dir/list"
	apt-config dump Acquire | sed -n '/[Pp]roxy\|Check-\|Retries/p' >"$dir/apt.conf"
	[ -f "$dir/key" ] || ssh-keygen -q -t ed25519 -N '' -C rig -f "$dir/key"
	in_namespaces make_inside
	[ -s "$dir/vmlinuz" ] && [ -s "$dir/initrd" ]
	mv "$dir/disk.new" "$dir/disk"
}

make_inside() {
	export TMPDIR="$mnt/tmp"
	mmdebstrap --mode=root --architectures=arm64 --variant=apt \
		--format=directory --skip=check/qemu,chroot/mount/sys,output/dev \
		--aptopt="$dir/apt.conf" --aptopt='Acquire::Languages "none"' \
		--essential-hook="$RIG/board-debian.sh before \"\$1\"" \
		--include=linux-image-arm64,linux-headers-arm64,systemd-sysv,udev,kmod,dbus \
		--include=dkms,gcc,openssh-server,pciutils \
		--customize-hook="$RIG/board-debian.sh after \"\$1\"" \
		"$release" "$mnt/root" "$dir/list"
	truncate -s 8G "$dir/disk.new"
	mke2fs -q -t ext4 -d "$mnt/root" "$dir/disk.new"
}

# A hook of mmdebstrap's: an initramfs that has what this machine boots from, not all
before() {
	mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
	echo MODULES=list >"$1/etc/initramfs-tools/conf.d/rig"
	printf '%s\n' virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/rig"
}

after() {
	cp "$1"/boot/vmlinuz-* "$dir/vmlinuz"
	cp "$1"/boot/initrd.img-* "$dir/initrd"
	echo "$hostname" >"$1/etc/hostname"
	echo 'nameserver 10.0.2.3' >"$1/etc/resolv.conf"
	install -d -m 700 "$1/root/.ssh"
	cp "$dir/key.pub" "$1/root/.ssh/authorized_keys"
	printf '[Match]\nName=en*\n[Network]\nDHCP=yes\n' >"$1/etc/systemd/network/rig.network"
	chroot "$1" systemctl enable systemd-networkd
}

# ---- the machine, and somebody who uses it

qemu=
# shellcheck disable=SC2317	# called by the traps
stop() {
	[ -z "$qemu" ] || kill -TERM "$qemu" 2>/dev/null || :
	[ -z "$qemu" ] || wait "$qemu" 2>/dev/null || :
	qemu=
}

start() {
	port=$(/usr/bin/python3 -c 'import socket; s = socket.socket()
s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	setpriv --pdeathsig TERM timeout -k 5 3600 setpriv --pdeathsig KILL qemu-system-aarch64 -nodefaults -display none -no-reboot \
		-M virt,virtualization=on,gic-version=3,iommu=smmuv3 -cpu neoverse-n2 -smp 2 -m 4G \
		-kernel "$dir/vmlinuz" -initrd "$dir/initrd" \
		-append "root=/dev/vda rw console=ttyAMA0 panic=-1 mem=2G" \
		-serial "file:$dir/console.log" \
		-drive "file=$dir/disk,format=raw,snapshot=on,if=none,id=disk" \
		-device virtio-blk-pci,drive=disk,addr=1 \
		-netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:22" \
		-device virtio-net-pci,netdev=net,romfile=,addr=2 \
		-device virtio-rng-pci,addr=3 \
		-device bochs-display,romfile=,addr=4 \
		-object memory-backend-ram,id=shm,size=64M,share=on \
		-device ivshmem-plain,memdev=shm,addr=5 \
		>"$dir/qemu.log" 2>&1 </dev/null 9>&- &
	qemu=$!
}

options="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
	-o ConnectTimeout=5 -o ServerAliveInterval=30 -o BatchMode=yes"
# shellcheck disable=SC2086,SC2029	# words; commands are for the other side
on_board() { ssh $options -i "$dir/key" -p "$port" root@127.0.0.1 "$@" </dev/null; }
# shellcheck disable=SC2086
to_board() { scp $options -i "$dir/key" -P "$port" "$1" "root@127.0.0.1:$2"; }
# shellcheck disable=SC2086
from_board() { scp $options -i "$dir/key" -P "$port" "root@127.0.0.1:$1" "$2"; }

# What the kernel, systemd and sshd take from nothing under an emulator
boots() {
	tries=120
	until on_board true 2>/dev/null; do
		kill -0 "$qemu" || return 1
		tries=$((tries - 1))
		[ $tries != 0 ] || return 1
		sleep 3
	done
	on_board 'cat /etc/debian_version; uname -r; cat /proc/1/comm'
	[ "$(on_board cat /proc/1/comm)" = systemd ]
}

# Each is judged by its status, as the last command has it: there is no -e in here. The
# last line that it prints says why.
copy() {
	to_board "$tarball" /root/ && on_board "tar xf $(basename "$tarball")" &&
		to_board "$RIG/board-guest.sh" /root/
}
apt_install() {
	on_board 'apt-get update && cd kvm-arm64-memtype-board &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y ./carveout-heap-dkms_*.deb'
}
built() {
	# shellcheck disable=SC2016	# for the other side
	on_board 'dkms status -m carveout-heap -k "$(uname -r)"' | tee "$dir/dkms"
	grep -q ': installed' "$dir/dkms"
}
# Without DKMS; the modules of tests are for newer kernels than this one
module() {
	# shellcheck disable=SC2016	# for the other side
	on_board 'cd kvm-arm64-memtype-board && ls src/drivers/Kbuild &&
		make -C "/lib/modules/$(uname -r)/build" M="$PWD/src/drivers" modules &&
		modinfo -F vermagic src/drivers/carveout_heap.ko | grep -F "$(uname -r) "'
}
# What nothing may change, in the words of the rig's own boots, of which the last finds
# nothing
state() { on_board 'HEAP=0 REST=0 sh board-guest.sh state' >"$dir/state.$1"; }
pool() { on_board 'modprobe carveout_heap pools=vm0:64M@0xC0000000 && ls -l /dev/dma_heap'; }
# A board's numbers would take hours there
run() {
	on_board "cd kvm-arm64-memtype-board && MT_ROUNDS=500 MT_OPS=1000 MT_SECONDS=2 MT_REPEAT=3 \
		MT_KB=64 MT_EVICT_KB=1024 ./run $*"
}
# wrote_to BAR DIRECTORY: a skip is "ok", too
wrote_to() { on_board "grep '# ${1%:*} BAR ${1##*:}, write-combine by' $2/ktap"; }
run_all() {
	run BAR=$bar POOL=vm0 &&
		wrote_to $bar kvm-arm64-memtype-board/results
}
# Its driver comes back, and the framebuffer with it
run_busy() {
	run BAR=$busy MEMORY=1 UNBIND=1 OUT=/tmp/busy -t bench:store_bench &&
		wrote_to $busy /tmp/busy
}
# What the machine runs from, whoever asks for it
needed() {
	run BAR=0000:00:01.0:4 UNBIND=1 OUT=/tmp/needed -t carveout:carveout_large &&
		on_board "grep 'the disk vda is on it' /tmp/needed/notes" &&
		run BAR=0000:00:02.0:4 UNBIND=1 OUT=/tmp/needed -t carveout:carveout_large &&
		on_board "grep 'network .* is up' /tmp/needed/notes"
}
unchanged() {
	state after && diff "$dir/state.before" "$dir/state.after"
}
report() {
	from_board kvm-arm64-memtype-board/results/report.txt "$dir/report.txt" || return 1
	# A machine's own
	for word in "$hostname" "$(on_board cat /etc/machine-id)" 10.0.2. \
		"$(on_board cat '/sys/class/net/en*/address')" c0000000; do
		! grep -iF "$word" "$dir/report.txt" || return 1
	done
	wc -l "$dir/report.txt"
}
clean_log() {
	on_board dmesg >"$dir/dmesg"
	"$RIG/report.sh" log board "$dir/dmesg" | tee "$dir/dmesg.judged"
	! grep -q '^fail' "$dir/dmesg.judged"
}
purge() {
	on_board 'modprobe -r carveout_heap && apt-get purge -y carveout-heap-dkms &&
		! find /lib/modules -name "carveout*" | grep .'
}
# Not in a subshell, which has no child to wait for
power_off() {
	on_board 'systemctl poweroff' || :
	r=0
	wait "$qemu" || r=$?
	qemu=
	return $r
}

# step NAME [COMMAND]: a line of the results
step() {
	echo "== $1"
	r=0
	"${2:-$1}" >"$dir/step" 2>&1 || r=$?
	cat "$dir/step"
	if [ $r = 0 ]; then
		printf 'pass\tboard/%s\t\n' "$1"
	else
		printf 'fail\tboard/%s\t%s\n' "$1" "$(grep -v '^$' "$dir/step" | tail -n 1 | tr '\t' ' ')"
	fi >>"$dir/results.tsv"
	return $r
}

somebody() {
	trap stop EXIT
	trap 'exit 130' INT TERM HUP
	start
	step boots || return 0
	if step copy && step install apt_install && step built && step pool; then
		step module || :
		state before
		step run run_all || :
		step unchanged || :
		step report || :
		step run-busy run_busy || :
		step needed || :
		step unchanged-later unchanged || :
		step purge || :
	fi
	step log clean_log || :
	step power-off power_off || :
}

case ${1:-} in
init | make_inside | before | after)
	"$@"
	exit
	;;
esac

"$RIG/tools.sh" package chroot ssh
lock
mkdir -p "$dir" "$LOGS"
log=$LOGS/board-debian.log
: >"$log"
# Its last line says where it is
tarball=$("$RIG/board.sh" make | tail -n 1)
[ -f "$tarball" ] || die "there is no tarball: make board says why"
get_emulator
rm -f "$dir/results.tsv"
if [ ! -f "$dir/disk" ] || [ -n "${UPDATE:-}" ]; then
	quietly "making a root file system of $release for arm64" "$log" make_disk
fi
quietly "a board with $release: from scp to the report" "$log" somebody
"$RIG/report.sh" summary "$dir/results.tsv"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: guests.sh <build directory> <archive>
#
# Makes what the guests of a VMM in the rig's machine are booted with: an archive with
# /demo in it, a kernel and a user space of theirs, and the scripts that start them with
# the commands of the documents. The same content makes the same archive, so that a boot
# can be known to be the same.

. "$(dirname "$0")/lib.sh"
lock

build=$1 archive=$2
demo=$TOP/selftests/demo
dir=$LOGS/guests
mkdir -p "$dir"
quietly "building the guests' programs" "$dir/log" make -s -C "$demo" OUT="$dir/bin"

root=$dir/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
install -m 755 "$CACHE/busybox/bin/busybox" "$dir/bin/mem" "$root/bin"
install -m 755 "$demo/guest" "$root/init"
pack "$root" "$dir/initrd"
rm -rf "$root"
mkdir -p "$root/demo/commands"
for d in real-vmm cache-model qemu; do
	awk -v dir="$root/demo/commands" -f "$demo/commands.awk" "$TOP/Documentation/$d.rst"
done
cp "$build/arch/arm64/boot/Image" "$dir/initrd" "$dir/bin/mem" "$dir/bin/qmp" \
	"$dir/bin/screen" "$demo/l1.sh" "$demo"/l1-* "$root/demo"
pack "$root" "$archive"
rm -rf "$root"

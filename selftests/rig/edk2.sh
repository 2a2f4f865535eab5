#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Makes sure that EDK2 for arm64 is in the cache, of this system's Debian, and prints the
# file.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
lock

fd=$CACHE/efi/usr/share/qemu-efi-aarch64/QEMU_EFI.fd
[ -f "$CACHE/efi/complete" ] || quietly "fetching EDK2" "$CACHE/efi.log" \
	unpack_arm64 "$CACHE/efi" qemu-efi-aarch64 >&2
echo "$fd"

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: selftests/rig/kernel-deb.sh
#
# What make kernel-deb cannot take for a board's configuration it says in a sentence,
# before anything is fetched or built.

. "$(dirname "$0")/../gate.sh"

d=$G/kernel-deb
rm -rf "$d"
mkdir -p "$d"
printf '%s\n' '# Linux/x86 7.3.4 Kernel Configuration' CONFIG_X86_64=y >"$d/x86"
gzip -c "$d/x86" >"$d/x86.gz"
printf '%s\n' CONFIG_ARM64=y 'and a line of something else' >"$d/text"
: >"$d/empty"
head -c 4096 /dev/zero >"$d/zero"

r=0
# refused CONFIG WORDS
refused() {
	if CONFIG=$1 "$RIG/kernel-deb.sh" >"$d/out" 2>&1; then
		echo "CONFIG=$1 is taken"
		r=1
	elif [ "$(wc -l <"$d/out")" != 1 ] || ! grep -q "^kernel-deb.sh: .*$2" "$d/out"; then
		echo "CONFIG=$1: \"$2\" was expected:"
		head -n 3 "$d/out"
		r=1
	fi
}
refused '' 'which configuration'
refused "$d/nothing" 'no such file'
refused "$d" 'no such file'
for f in text empty zero; do
	refused "$d/$f" 'is not a kernel configuration'
done
for f in x86 x86.gz; do
	refused "$d/$f" 'is not for arm64, but for x86'
done
exit $r

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: patched
# inputs: code include
#
# include/uapi, which stands in for the headers of a kernel with the series, says the
# same as they do: each number, and the size and place of each field of each struct.
# It is compiled against headers that have nothing of it, and against the series'.

. "$(dirname "$0")/../gate.sh"

header=$TOP/include/uapi/linux/kvm_memtype.h
{
	echo '#include <stddef.h>'
	echo '#include <linux/kvm_memtype.h>'
	sed -n 's/^#[ \t]*define[ \t]\+\([A-Z][A-Z0-9_]*\)[ \t].*/unsigned long v_\1 = \1;/p' "$header"
	awk '/^struct .* \{$/ { s = $2; print "unsigned long s_" s " = sizeof(struct " s ");"; next }
		/^};/ { s = "" }
		s != "" && /;$/ {
			f = $NF
			sub(/[\[;].*/, "", f)
			print "unsigned long o_" s "_" f " = offsetof(struct " s ", " f ") << 16 |" \
				" sizeof(((struct " s " *)0)->" f ");"
		}' "$header"
} >"$G/uapi.c"
[ "$(grep -c 'unsigned long v_' "$G/uapi.c")" -ge 3 ] || {
	echo "no number was found in ${header#"$TOP/"}"
	exit 1
}

# numbers NAME FLAG...: the data, as the compiler lays it out
numbers() {
	n=$G/uapi.$1
	shift
	aarch64-linux-gnu-gcc -Wall -Werror "$@" -I"$TOP/include/uapi" -S -o - "$G/uapi.c" |
		grep '^[vso]_\|\.xword\|\.zero' >"$n"
	[ -s "$n" ]
}
# Headers of the compiler's libc, which know nothing of this
numbers alone
grep -q 'v_KVM_MEM_NONCACHEABLE' "$G/uapi.alone"
numbers series -isystem "$W/patched/build/usr/include"
diff -u "$G/uapi.series" "$G/uapi.alone" || {
	echo "${header#"$TOP/"} does not say what the series' headers say"
	exit 1
}

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: unpatched
# inputs: selftests drivers include arch-arm64
#
# checkpatch --strict on all C of ours; what is allowed is in checkpatch.allowed.

. "$(dirname "$0")/../gate.sh"

printf '// SPDX-License-Identifier: GPL-2.0\nint  planted( void )\n{\n}\n' >"$G/planted.c"
(cd "$W/src" && ./scripts/checkpatch.pl --no-tree --strict --terse -f "$G/planted.c") |
	grep -q 'ERROR: space prohibited' || {
	echo "checkpatch does not see a planted error"
	exit 1
}
# --no-tree: they are not in a kernel tree, so their paths mean nothing. The
# root is where names in CamelCase are looked up, which leaves a file.
(cd "$G" && c_files | xargs -r -d '\n' "$W/src/scripts/checkpatch.pl" \
	--no-tree --root="$W/src" -f --strict --no-summary --terse \
	--show-types) >"$G/checkpatch-files.1" 2>&1 || :
while read -r line; do
	file=${line%%:*}
	allowed "${file#"$TOP/"}" "$line" || echo "$line"
done <"$G/checkpatch-files.1" >"$G/checkpatch-files.2"
cat "$G/checkpatch-files.2"
[ ! -s "$G/checkpatch-files.2" ]

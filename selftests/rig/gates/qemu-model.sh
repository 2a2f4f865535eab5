#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: patches/qemu-model selftests/rig/qemu-source.sh
#
# QEMU's own checkpatch on the patches of the rig's emulator.

. "$(dirname "$0")/../gate.sh"

source=$("$RIG/qemu-source.sh")
checkpatch() { (cd "$source" && ./scripts/checkpatch.pl --no-summary --terse "$@"); }

cat >"$G/planted.patch" <<'END'
Signed-off-by: Planted <planted@localhost>
---
diff --git a/util/planted.c b/util/planted.c
--- a/util/planted.c
+++ b/util/planted.c
@@ -1,1 +1,2 @@
 int x;
+int  planted( void );
END
checkpatch "$G/planted.patch" | grep -q 'ERROR: space prohibited' || {
	echo "checkpatch does not see a planted error"
	exit 1
}
r=0
for p in "$TOP"/patches/qemu-model/*.patch; do
	# The device is nobody's in MAINTAINERS
	! checkpatch "$p" | grep -v 'does MAINTAINERS need updating' || r=1
done
exit $r

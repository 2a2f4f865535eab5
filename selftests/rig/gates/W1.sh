#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: patched
# inputs: code arch-arm64/configs selftests/rig/analyse.sh selftests/rig/sparse.sh
#
# The compiler with W=1 has nothing to say of the touched files that it does not say
# of those of the base kernel.

. "$(dirname "$0")/../gate.sh"
. "$RIG/analyse.sh"

new_findings W1

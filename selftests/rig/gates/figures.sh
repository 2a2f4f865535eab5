#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: Documentation README series arch-arm64/configs selftests/rig/figures.sh
#
# The figures in documents and cover letters are those of Documentation/bench.txt, and
# that is of the code that the patches have.

. "$(dirname "$0")/../gate.sh"

exec "$RIG/figures.sh" check

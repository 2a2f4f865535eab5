#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: selftests .ci drivers
#
# All shell of ours.

. "$(dirname "$0")/../gate.sh"

# shellcheck disable=SC2016
printf '#!/bin/sh\necho $1\n' | shellcheck - >/dev/null && {
	echo "shellcheck does not see a planted error"
	exit 1
}
# SC1091, SC2153: lib.sh is found by a path that is known only when run
# shellcheck disable=SC2038	# no such names here
find "$TOP/selftests" "$TOP/.ci" "$TOP/drivers" -type f \( -name '*.sh' -o -name init -o -name run \
	-o -path '*/board/report' -o -path '*/demo/guest' -o -path '*/demo/l1-*' \) |
	xargs -d '\n' shellcheck -x -e SC1091,SC2153

# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Sourced by the scripts that write a series from a git tree.

# keep_cover COVER NEW TREE REVISION: NEW, the cover letter that git has made of what
# ends with REVISION, gets the text of COVER, if there is one, up to the shortlog. The
# patch count, the shortlog and the diffstat are NEW's own.
keep_cover() {
	kc_count=$(sed -n 's/^Subject: \[\([^]]*\)\].*/\1/p;/^$/q' "$2")
	{
		if [ -f "$1" ]; then
			# up to the shortlog, whose first line is "Name (N):"
			awk '/^[^ ].* \([0-9]+\):$/ { exit } { print }' "$1" |
				sed "1,/^\$/s,^Subject: \[[^]]*\],Subject: [$kc_count],"
		else
			# no date but that of the last commit
			awk '/^[^ ].* \([0-9]+\):$/ { exit } { print }' "$2" |
				sed "1,/^\$/s/^Date: .*/Date: $(git -C "$3" log -1 --format=%aD "$4")/
				     1,/^\$/s|^From: .*|From: $(git -C "$3" log -1 --format='%an <%ae>' "$4")|"
		fi
		awk '/^[^ ].* \([0-9]+\):$/ { p = 1 } p { print }' "$2"
	} >"$2.kept"
	mv "$2.kept" "$2"
}

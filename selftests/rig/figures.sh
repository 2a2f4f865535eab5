#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: figures.sh check|write|code
#
# The figures of the documents and cover letters are rows of Documentation/bench.txt: a
# line that has the name of a row and then nothing but numbers must be that very row,
# white space aside. `write` makes it so; `code` prints the hash of the kernel code of
# all patches and of its configuration, which the table is of.

. "$(dirname "$0")/lib.sh"

bench=$TOP/Documentation/bench.txt

documents() {
	find "$TOP/Documentation" -name '*.rst'
	find "$TOP/patches" -name '0000-cover-letter.patch'
	echo "$TOP/README"
}

# The lines that make up the kernel code, without what only says where they are, and how
# it is configured
code() {
	{
		# shellcheck disable=SC2016	# of awk
		find "$PATCHES" -name '[0-9]*.patch' | sort | xargs -d '\n' awk '
			FNR == 1 { p = 0 }
			/^diff --git / { p = $3 ~ /^a\/(arch|virt|mm|include|drivers)\// }
			/^-- $/ { p = 0 }
			p && /^[-+]/ && !/^(---|\+\+\+)/'
		find "$TOP/arch-arm64/configs" -name '[!d]*.config' | sort | xargs -d '\n' grep -h '^CONFIG'
	} | sha256sum | cut -c1-16
}

# rows DOCUMENT [write]: lines that are not the row that they look like; or the document
# with the rows as they are
rows() {
	awk -v bench="$bench" -v write="${2:-}" '
		function row(line) {
			sub(/^[ \t|]*/, "", line)
			gsub(/[ \t]+/, " ", line)
			sub(/ $/, "", line)
			return line
		}
		function is_row(line) {
			return line ~ /^[a-z][a-z0-9_]*[A-Z]?[a-z0-9_]*( [0-9.]+)+$/
		}
		BEGIN {
			while ((getline line < bench) > 0)
				if (is_row(row(line))) {
					split(row(line), f, " ")
					wanted[f[1]] = row(line)
					shown[f[1]] = line
				}
		}
		{
			split(row($0), f, " ")
			if (is_row(row($0)) && f[1] in wanted && row($0) != wanted[f[1]]) {
				if (!write) {
					print FILENAME ":" FNR ": " row($0) ": it is " wanted[f[1]]
					bad = 1
				} else {
					match($0, /^[ \t|]*/)
					$0 = substr($0, 1, RLENGTH) shown[f[1]]
				}
			}
			if (write)
				print
		}
		END { exit bad }' "$1"
}

case $1 in
code)
	code
	;;
check)
	rc=0
	[ -f "$bench" ] || die "Documentation/bench.txt is not there: run make bench"
	[ "$(sed -n 's/^code //p' "$bench")" = "$(code)" ] || {
		echo "Documentation/bench.txt is of other code than that of the patches: run make bench"
		rc=1
	}
	documents >"$W/documents"
	while read -r doc; do
		rows "$doc" || rc=1
	done <"$W/documents"
	exit $rc
	;;
write)
	documents >"$W/documents"
	while read -r doc; do
		rows "$doc" write >"$W/document"
		cmp -s "$W/document" "$doc" || {
			say "${doc#"$TOP/"}: figures rewritten"
			cat "$W/document" >"$doc"
		}
	done <"$W/documents"
	;;
*)
	die "check, write or code?"
	;;
esac

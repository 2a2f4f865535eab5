# SPDX-License-Identifier: GPL-2.0
#
# usage: awk -v dir=DIRECTORY -f commands.awk FILE.rst
#
# Writes each code block of a manual that has a :name: to a file of that name, so
# that the tests run the very commands that the manual shows.

/^\.\. code-block::/ {
	block = 1
	name = ""
	next
}
block && name == "" && /^   :name: / {
	name = $2
	next
}
block && /^[^ \t]/ {
	block = 0
}
block && name != "" {
	sub(/^   /, "")
	print >(dir "/" name)
}

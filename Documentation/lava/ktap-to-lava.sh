#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: ktap-to-lava.sh <results/ktap
#
# Shows the KTAP that it reads, and tells LAVA of each result. lava-test-case is in PATH of
# a LAVA test; where there is none, the results are printed. The name of a case is
# collection.test for what run_kselftest.sh says of a test as a whole, and
# collection.test.subtest for what the test says itself. The case ktap.complete fails if
# a test that was announced has not come to its end.

set -eu

lava=$(command -v lava-test-case || echo echo)

# LAVA takes these characters in a name
tell() {
	name=$(printf %s "$1" | tr -cs 'A-Za-z0-9_.-' _)
	name=${name%_}
	"$lava" "${name#_}" --result "$2" </dev/null
}

test='' planned=0 seen=0
while IFS= read -r line || [ -n "$line" ]; do
	printf '%s\n' "$line"
	# What a test prints has a "# " before it, what its subtests print one more, or blanks
	inside=
	while :; do
		case $line in
		'# '* | '  '*) line=${line#??} inside=yes ;;
		*) break ;;
		esac
	done
	case $line in
	'selftests: '*': '*)
		[ -z "$inside" ] || test=${line#selftests: } test=${test%%: *}.${test#*: }
		continue
		;;
	1..[0-9]*)
		n=${line#1..} n=${n%%[!0-9]*}
		[ -n "$inside" ] || planned=$((planned + n))
		continue
		;;
	'ok '[0-9]*) result=pass ;;
	'not ok '[0-9]*) result=fail ;;
	*) continue ;;
	esac
	line=${line#not } line=${line#ok }
	case $line in
	*' '*) rest=${line#* } ;;
	*) rest="number_$line" ;;
	esac
	rest=${rest#- }
	# "name # SKIP why", or "# SKIP name" as older kselftests have it
	case " $rest" in
	*' # SKIP'* | *' # skip'*) result=skip ;;
	esac
	name=${rest%% # *}
	case $name in
	'# '*) name=${name#\# } name=${name#* } ;;
	esac
	if [ -z "$inside" ]; then
		seen=$((seen + 1))
		test='' name=${name#selftests: }
		case $name in
		*': '*) name=${name%%: *}.${name#*: } ;;
		esac
	else
		name=${test:-test}.$name
	fi
	tell "$name" "$result"
done
if [ "$planned" -gt 0 ] && [ "$seen" -ge "$planned" ]; then
	tell ktap.complete pass
else
	tell ktap.complete fail
fi

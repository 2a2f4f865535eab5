#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: gates.sh [results] [gate...]
#
# Runs the checks that need no boot, selftests/rig/gates/*.sh, all of them or those
# named, and prints a summary; with "results", each as a result line (see report.sh).
# gate.sh says what a gate is. Those that need less come first; the gate "bisect"
# leaves the patched kernel built.

. "$(dirname "$0")/gate.sh"

if [ "${1:-}" != results ]; then
	mkdir -p "$W"
	"$0" results "$@" >"$W/gates.tsv"
	exec "$RIG/report.sh" summary "$W/gates.tsv"
fi
shift
RIG_QUIET=1 "$RIG/base.sh" >&2
lock

all=$(gate_names)
for g in "$@"; do
	one_of GATE "$g" "$all"
done
stamps=$W/stamps/$SERIES
mkdir -p "$stamps"

# header GATE WORD: what a line of its head says
header() { sed -n "s/^# $2: //p" "$RIG/gates/$1.sh" | head -n 1; }

# Done once each, when a gate needs it
provide() {
	case $1 in
	nothing) ;;
	unpatched) "$RIG/build.sh" unpatched ;;
	series) "$RIG/tree.sh" apply >/dev/null ;;
	patched) "$RIG/build.sh" unpatched && "$RIG/build.sh" patched ;;
	*) die "gates/$g.sh needs $1, which gate.sh does not know" ;;
	esac
}

# What they need, cheapest first
ordered() {
	for g in $all; do
		case " $* " in "  " | *" $g "*) ;; *) continue ;; esac
		case $(header "$g" needs) in
		nothing) r=0 ;;
		series) r=1 ;;
		unpatched) r=2 ;;
		*) r=3 ;;
		esac
		echo "$r $g"
	done | sort -k 1,1n -k 2 | cut -d' ' -f 2
}

failed() { printf 'fail\tgates/%s\t%s\n' "$1" "$2"; }

for g in $(ordered "$*"); do
	log=$G/$g.log
	needs=$(header "$g" needs)
	inputs=$(header "$g" inputs)
	if [ -z "$needs" ] || [ -z "$inputs" ]; then
		failed "$g" "gates/$g.sh does not say what it needs and what its inputs are"
		continue
	fi
	case $inputs in
	*code*)
		# What does not apply has no code: the gate "applies" says which patch
		provide series >/dev/null 2>"$G/apply.log" || {
			failed "$g" "$(head -n 1 "$G/apply.log")"
			continue
		}
		;;
	esac
	# shellcheck disable=SC2086	# words
	key=$(hash_inputs selftests/rig/gate.sh selftests/rig/lib.sh "selftests/rig/gates/$g.sh" $inputs)
	if [ "$(cat "$stamps/$g" 2>/dev/null)" = "$key" ] && [ -z "${AGAIN:-}" ]; then
		printf 'pass\tgates/%s\t\n' "$g"
		continue
	fi
	rm -f "$stamps/$g" "$log"
	provide "$needs" >&2 || {
		failed "$g" "what it needs ($needs) cannot be made"
		continue
	}
	if V=0 quietly "gate: $g" "$log" "$RIG/gates/$g.sh" >&2; then
		echo "$key" >"$stamps/$g"
		printf 'pass\tgates/%s\t\n' "$g"
	else
		failed "$g" "$(grep -v '^$' "$log" | tail -n 1 | tr '\t' ' '); $log"
	fi
done

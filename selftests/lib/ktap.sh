# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Results of shell tests, on top of the kernel's ktap_helpers.sh, which has to be
# sourced first: with the reason why one failed, and a plan that nobody counts.

# not_ok NAME [REASON]
not_ok() {
	ktap_test_fail "$1"
	[ -z "${2:-}" ] || ktap_print_msg "$1: $2"
}
# is NAME GOT EXPECTED
is() {
	if [ "$2" = "$3" ]; then
		ktap_test_pass "$1"
	else
		not_ok "$1" "$2, expected $3"
	fi
}
finish() {
	ktap_set_plan $((KTAP_TESTNO - 1))
	ktap_finished
}

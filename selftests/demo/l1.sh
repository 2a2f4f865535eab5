# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash disable=SC1090	# commands are known at run time only
#
# Sourced by the scripts l1-NAME, which run in the rig's machine as tests and
# print KTAP. vm_start NAME starts the virtual machine with the command lines of
# Documentation/real-vmm.rst, which are in /demo/commands.

. /tests/ktap_helpers.sh
. /tests/ktap.sh

# try NAME COMMAND...
try() {
	t_name=$1
	shift
	if "$@" >/tmp/try.out 2>&1; then
		ktap_test_pass "$t_name"
	else
		not_ok "$t_name" "exit $?: $(tail -n 1 /tmp/try.out)"
	fi
}
# From here on the VMM is the patched one
patched() { export PATH="/qemu/bin:$PATH"; }
[ -z "${PATCHED:-}" ] || patched

# qmp COMMAND [ARGUMENTS]: the VMM's answer
qmp() { /demo/qmp qmp "$@"; }

# within SECONDS COMMAND...: repeated until it succeeds
within() {
	w_end=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$w_end" ] || return 1
		sleep 0.1
	done
}

# vm_start NAME [BLOCK]: the command block NAME, after those that it builds on
vm_start() {
	vm=$1 demo_ready=0
	mkdir -p "/tmp/$vm"
	cd "/tmp/$vm" || exit
	ln -sf /demo/Image /demo/initrd /qemu/vmlinuz /qemu/distro.initrd /qemu/QEMU_EFI.fd .
	mkfifo report.in report.out
	cat report.out >report.log &
	(
		for block in vm ${2:-} "$vm"; do
			. "/demo/commands/$block"
		done
	) >vmm.log 2>&1 &
	vm_job=$!
	within 30 test -S qmp || {
		not_ok start "$(tail -n 1 vmm.log)"
		finish
	}
	# The one before it may be there still
	for p in $(pidof qemu-system-aarch64); do
		[ "$p" = "${vmm:-}" ] || pid=$p
	done
}
# keep; as NAME: what is known here of a virtual machine, where there are several
keep() {
	eval "pid_$vm=$pid job_$vm=$vm_job ready_$vm=$demo_ready"
	eval "screen_$vm=${screen:-} asked_$vm=${asked:-}"
}
as() {
	cd "/tmp/$1" || exit
	vm=$1
	eval "pid=\$pid_$vm vm_job=\$job_$vm demo_ready=\$ready_$vm"
	eval "screen=\$screen_$vm asked=\$asked_$vm"
}
gone() { ! kill -0 "$pid" 2>/dev/null; }
go() { echo go >report.in; }
# tell COMMAND...: a guest that is ready does that and is ready again
tell() {
	echo "$*" >report.in
	guest_ready 60
}
said() { grep -qx "$1" report.log; }
# guest_ready SECONDS: it waits for go (once more). Without that, or without a VMM, there
# is nobody to go on with
is_ready() { [ "$(grep -cx ready report.log)" -ge "$demo_ready" ]; }
ready_or_gone() { is_ready || gone; }
guest_ready() {
	demo_ready=$((demo_ready + 1))
	within "$1" ready_or_gone || :
	is_ready || {
		not_ok "ready-$demo_ready" "$(tail -n 1 report.log); VMM: $(tail -n 1 vmm.log)"
		sed 's/^/# VMM: /' vmm.log
		finish
	}
}
# start_of DEVICE: where the guest has the BAR that it has told of
start_of() { awk -v d="$1" '$1 == "bar" && $2 == d { print $3 }' report.log; }
# guest_says NAME SECONDS LINE: a result of that name
guest_says() { try "$1" within "$2" said "$3"; }
# vm_end SECONDS: the guest's results, and that it ended by itself
vm_end() {
	if ! within "$1" sh -c "! kill -0 $pid 2>/dev/null"; then
		not_ok ends "$vm still runs: $(tail -n 1 report.log)"
		kill -9 "$pid"
	fi
	rc=0
	wait "$vm_job" || rc=$?
	while read -r line; do
		case $line in
		"ok "*) ktap_test_pass "${line#ok }" ;;
		"not ok "*)
			line=${line#not ok }
			not_ok "${line%%: *}" "${line#*: }"
			;;
		esac
	done <report.log
	# Another test may have had one of that name
	cat console.log >>"/results/$vm.console"
	cat report.log >>"/results/$vm.report"
	sed 's/^/# VMM: /' vmm.log
	try quit test "$rc" = 0
	try vm-is-gone test ! -d "$(debugfs_dir)"
}

# screen_start [DESCRIPTOR]: a client of the VMM's VNC server, which shows what it has
# been told of
screen_start() {
	screen=${1:-5} asked=0
	mkfifo screen.in
	/demo/screen vnc vnc <screen.in >screen.log 2>&1 &
	eval "exec $screen>screen.in"
}
answered() { [ "$(wc -l <screen.log)" -ge "$asked" ]; }
# card SHADE: what is on the screen when the guest has drawn that
card() {
	truncate -s $((640 * 480 * 4)) want
	/demo/mem card want 0 640 480 "$1"
}
# on_screen SECONDS: the client has that, or gets it in that time
on_screen() {
	asked=$((asked + 1))
	echo "want want $1" >&"$screen"
	within $(($1 + 20)) answered || {
		echo "no answer: $(tail -n 1 screen.log)"
		return 1
	}
	tail -n 1 screen.log
	tail -n 1 screen.log | grep -q ^ok
}
# redraw SHADE: the guest draws that, and the client gets it
redraw() {
	card "$1"
	tell card "$1"
	on_screen 30
}
screen_end() {
	# which is its end
	eval "exec $screen>&-"
}
# The same by the VMM's own means
screendump() {
	rm -f shot.ppm
	qmp screendump "{\"filename\":\"shot.ppm\"}" &&
		/demo/screen ppm shot.ppm want
}
status() { qmp query-status | grep -q "\"status\": \"$1\""; }

# What KVM shows of this virtual machine
debugfs_dir() {
	for d in /sys/kernel/debug/kvm/"$pid"-*; do
		echo "$d"
	done
}
# Lines of a file of debugfs (on stdin) that are about guest addresses from $1 up
# to $2; the range is in field $3
lines_of() {
	awk -v start="$(($1))" -v end="$(($2))" -v field="$3" '
	function hex(s,   i, n) {
		for (i = n = 0; i < length(s); )
			n = n * 16 + index("0123456789abcdef", substr(s, ++i, 1)) - 1
		return n
	}
	$field ~ /^0x[0-9a-f]+-0x[0-9a-f]+$/ {
		split(substr($field, 3), r, "-0x")
		if (hex(r[1]) < end && hex(r[2]) > start)
			print
	}'
}
# s2_is NAME START END TYPES: which types the stage-2 leaves have there; a kernel
# that shows no types gives no result
s2_is() {
	s_dump=$(debugfs_dir)/stage2_page_tables
	grep -q MEM/ "$s_dump" || return 0
	# a range without a leaf has its size and level only
	is "$1" "$(lines_of "$2" "$3" 1 <"$s_dump" | awk 'NF > 3 { print $NF }' | sort -u)" "$4"
}
# audit_is NAME START END LINES: stage 2, host, linear map and verdict there
audit_is() {
	is "$1" "$(lines_of "$2" "$3" 2 <"$(debugfs_dir)/memtype_audit" |
		awk '{ print $4, $5, $6, $7 }' | sort -u)" "$4"
}
# The whole of it; how many pages are mismatched is on its last line
audit_clean() {
	cp "$(debugfs_dir)/memtype_audit" "/results/$vm.audit"
	try audit-no-mismatch grep -q '^summary: .*, 0 pages in 0 ranges mismatched,' "/results/$vm.audit"
}

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: model.sh plan|results|table [vmm]
#
# A guest's framebuffer on an unmodified VMM in machines with a cache model, on the
# patched and on the base kernel: in ordinary memory, which corrupts it where there is no
# FEAT_S2FWB, and in a carve-out; with "vmm", on the patched VMM as well, which flags the
# memslot of the carve-out. The same for the rings of a disk that is not coherent. And
# what the emulator says to options that the model cannot have. "plan" says which boots
# it takes ("vmm" after demo.sh has made that VMM's archive), "results" prints what came
# of them, one a line, and makes the picture, "table" shows both to people.

. "$(dirname "$0")/lib.sh"
lock

demo=$TOP/selftests/demo
dir=$LOGS/model
picture=$dir/cache-model.png
configs='model-n1 model-n2'
groups='unpatched patched'
case ${2:-} in
vmm) groups="$groups patched-qemu" ;;
?*) die "vmm or nothing?" ;;
esac
mkdir -p "$dir"

# memories_of GROUP: where the framebuffer is
memories_of() {
	case $1 in
	*-qemu) echo flagged ;;
	*) echo stripes clean ;;
	esac
}

# expected_of CONFIGURATION TEST: without FEAT_S2FWB a guest's Normal-NC mapping of the
# VMM's ordinary memory stays that
expected_of() {
	case "$1 $2" in
	"model-n1 stripes" | "model-n1 unpooled") echo wrong ;;
	*) echo right ;;
	esac
}

plan() {
	"$RIG/emulator.sh" >/dev/null
	"$RIG/base.sh" >&2
	"$RIG/vmm.sh" >&2
	for g in $groups; do
		k=${g%-qemu} env=
		"$RIG/build.sh" "$k" >&2
		build=$W/patched/$BUILD rounds=100
		[ "$k" = patched ] || build=$W/src/$BUILD rounds=10
		"$RIG/initramfs.sh" tests >&2
		"$RIG/initramfs.sh" modules "$build" >&2
		"$RIG/guests.sh" "$build" "$dir/$k.cpio" >&2
		set -- "$CACHE/vmm/vmm.cpio" "$dir/$k.cpio"
		[ "$g" = "$k" ] || {
			env='PATCHED=1 '
			set -- "$@" "$LOGS/demo/qemu.cpio"
		}
		for c in $configs; do
			{
				for m in $(memories_of "$g"); do
					echo "300 $m ${env}sh /demo/l1-stripes $m $rounds $(expected_of "$c" "$m")"
				done
				[ "$g" != patched ] || for m in unpooled pooled; do
					echo "300 $m sh /demo/l1-noncoherent $m $(expected_of "$c" $m)"
				done
			} | plan_boot "$dir/$g/$c" "$build" 1200 "$@"
		done
	done
}

# result NAME STATUS REASON
result() { printf '%s\tmodel/%s\t%s\n' "$2" "$1" "${3:-}"; }

# What the picture has wrong is counted here, from what the VMM saw
pixels() {
	c=$1 m=$2 b=$3 name=$4
	rm -f "$b/$m".*
	for f in raw lost redraws type verdict took; do
		file_of "$b/port.log" "$m.$f" >"$b/$m.$f"
	done
	if "$demo/card.py" "$b/$m.raw" 640 480 "$b/$m.png" >"$b/$m.wrong" 2>&1; then
		echo 0 >"$b/$m.wrong"
	elif ! grep -q ' pixels differ' "$b/$m.wrong"; then
		result "$name/$m/pixels" fail "$(tail -n 1 "$b/$m.wrong")"
		return
	fi
	wrong=$(cut -d ' ' -f 1 "$b/$m.wrong")
	case $(expected_of "$c" "$m"):$wrong in
	right:0) result "$name/$m/pixels" pass ;;
	right:*) result "$name/$m/pixels" fail "$(cat "$b/$m.wrong")" ;;
	wrong:*)
		# a few could be anything
		if [ "$wrong" -gt 30000 ]; then
			result "$name/$m/pixels-go-wrong" pass
		else
			result "$name/$m/pixels-go-wrong" fail "$wrong of 307200"
		fi
		;;
	esac
}

# refuses NAME WORDS OPTION...: the emulator does not start, and says why
refuses() {
	r_name=$1 r_words=$2
	shift 2
	r_rc=0
	r_said=$(timeout 20 "$(emulator_of model-n1)" -M virt -m 1G -nodefaults -display none \
		-S "$@" 2>&1 </dev/null) || r_rc=$?
	[ "$r_rc" = 1 ] || r_said="status $r_rc; $r_said"
	case $r_said in
	"status "*) result "emulator/$r_name" fail "$r_said" ;;
	*"$r_words"*) result "emulator/$r_name" pass ;;
	*) result "emulator/$r_name" fail "$r_said" ;;
	esac
}
emulator() {
	m=cache-model
	refuses no-range "multiples of the page size" -device $m
	refuses base-unaligned "multiples of the page size" -device $m,base=0x50000800,size=1M
	refuses size-unaligned "multiples of the page size" -device $m,base=0x50000000,size=1000
	refuses wraps "too much" -device $m,base=0xfffffffffffff000,size=8K
	refuses no-memory "there is no memory" -device $m,base=0xb000000,size=4K
	refuses not-ram "not RAM" -device $m,base=0x9000000,size=4K
	refuses beyond-ram "the RAM at 0x7ff00000 ends" -device $m,base=0x7ff00000,size=2M
	refuses overlap "overlaps another cache-model" \
		-device $m,base=0x50000000,size=1M -device $m,base=0x50080000,size=1M
	refuses overlap-above "another cache-model begins" \
		-device $m,base=0x50000000,size=1M -device $m,base=0x4ff80000,size=1M
	refuses dma "coherent or noncoherent" -device $m,base=0x50000000,size=1M,dma=sometimes
	refuses counters "there is something else" \
		-device $m,base=0x50000000,size=1M,counters=0x50000000
	refuses loaded "something is to be loaded" -device $m,base=0x40000000,size=1M
	refuses migratable "only-migratable" -only-migratable -device $m,base=0x50000000,size=1M
	refuses incoming "cannot be migrated" -incoming defer -device $m,base=0x50000000,size=1M
}

results() {
	emulator
	for k in $groups; do
		for c in $configs; do
			b=$dir/$k/$c name=${c#model-}
			[ "$k" = patched ] || name=$name/$k
			{
				"$RIG/report.sh" boot "model/$name" "$b"
				for m in $(memories_of "$k"); do
					pixels "$c" "$m" "$b" "$name"
					file_of "$b/port.log" "$m.console" >"$b/$m.console"
					"$RIG/report.sh" log "model/$name/$m/guest" "$b/$m.console"
				done
			} >"$b/results"
			cat "$b/results"
			grep -q ^fail "$b/results" || [ ! -f "$b/key" ] || mv "$b/key" "$b/passed"
		done
	done
	b=$dir/patched/model-n1
	rm -f "$picture"
	if why=$("$demo/card.py" beside 640 480 "$picture" "$b/stripes.raw" "$b/clean.raw" 2>&1); then
		result picture pass
	else
		result picture fail "$why"
	fi
}

# One row for a boot and a memory
row() {
	k=$1 c=$2 m=$3 b=$dir/$1/$2
	case $m in
	stripes) memory="ordinary RAM" ;;
	clean) memory=carve-out ;;
	flagged) memory="flagged slot" ;;
	esac
	# the base kernel's dump has no types
	type=$(grep '^MEM/\|^DEVICE/' "$b/$m.type" | tr '\n' ' ')
	: "${type:=-}"
	wrong=$(cut -d ' ' -f 1 "$b/$m.wrong")
	looks="$wrong of 307200 pixels wrong"
	[ "$wrong" != 0 ] || looks=right
	printf '%-11s %-9s %-12s %-14s %8s  %-29s %s\n' "$(config_field "$c" 2)" "${k%-qemu}" "$memory" \
		"$type" "$(cat "$b/$m.lost")" "$looks" "$(sed 's/ / of /' "$b/$m.redraws")"
}
table() {
	printf '%-11s %-9s %-12s %-14s %8s  %-29s %s\n' CPU kernel memory "at stage 2" \
		"lost" "picture" "redraws"
	printf '%-11s %-9s %-12s %-14s %8s  %-29s %s\n' "" "" "" "" lines "" "wrong"
	for c in $configs; do
		for m in stripes clean flagged; do
			for k in $groups; do
				case " $(memories_of "$k") " in *" $m "*) row "$k" "$c" "$m" ;; esac
			done
		done
	done
	echo
	echo "picture: $picture"
}

case $1 in
plan | results | table) "$1" ;;
*) die "plan, results or table?" ;;
esac

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# make mutants: breaks the patched kernel in one way after the other, and sees that
# the test that is there for it fails. ONLY= names mutants.
#
# A mutant is a patch to the patched kernel, selftests/mutants/<name>.patch. Lines at
# its top say which tests must catch it, one a line, by the name that they have in the
# results, and in which configuration (n1 is one without FEAT_S2FWB, n2 and max have
# it):
#
#   # test: s2_policy/table.flag_nc_alias.row
#   # config: n1
#
# A third kind of line, "# tree: module", is for a patch to the carve-out module of this
# repository, which is loaded into the kernel as it is.
#
# Only these subtests are run, and each must fail. First, all of them must pass on the
# kernel without a mutant, run in the same way, or a failure would mean nothing.

. "$(dirname "$0")/lib.sh"

mutants=$TOP/selftests/mutants
all=$(cd "$mutants" && find . -name '*.patch' | sed 's|^\./||; s|\.patch$||' | sort)
chosen=$(echo "${ONLY:-}" | tr ',' ' ')
for m in $chosen; do
	one_of ONLY "$m" "$all"
done
: "${chosen:=$all}"

# header MUTANT WORD: each line with it
header() { sed -n "s/^# $2: //p" "$mutants/$1.patch"; }

for m in $chosen; do
	config=$(header "$m" config)
	[ -n "$(header "$m" test)" ] || die "$m.patch does not name its test"
	one_of "$m.patch: config" "$config" "$(rig_configs both; rig_configs patched)"
	for test in $(header "$m" test); do
		awk -v t="${test%%/*}" '!/^#/ && $3 == t { found = 1 } END { exit !found }' \
			"$TOP/selftests/tests" ||
			die "$m.patch: selftests/tests has no ${test%%/*}"
	done
done

"$RIG/tools.sh" emulator
lock
"$RIG/base.sh"
"$RIG/build.sh" patched
"$RIG/initramfs.sh" tests
"$RIG/initramfs.sh" modules "$W/patched/$BUILD"
for m in $chosen; do
	need_emulator "$(header "$m" config)"
done

log=$LOGS/mutants/log
mkdir -p "$LOGS/mutants"
: >"$log"

# A tree and a build directory of their own: from one mutant to the next it is what the
# patch touches that is compiled
tree=$W/mutants
kernel_tree() {
	applied=$("$RIG/tree.sh" apply)
	commit=$(git -C "$applied" rev-parse "refs/rig/$SERIES")
	[ -d "$tree" ] || {
		git -C "$W/src" worktree prune
		git -C "$W/src" worktree add -q --detach "$tree" "$commit"
	}
	git -C "$tree" checkout -q -f --detach "$commit"
	mkdir -p "$tree/build"
	cmp -s "$W/patched/$BUILD/.config" "$tree/build/.config" ||
		cp "$W/patched/$BUILD/.config" "$tree/build/.config"
	cp "$W/patched/$BUILD/modules.cpio" "$tree/build/modules.cpio"
}
commit=
for m in $chosen; do
	[ -n "$commit" ] || [ "$(header "$m" tree)" = module ] || kernel_tree
done

# list_of CONFIGURATION TEST: what is to be run of the rig's tests, the subtest alone where
# it is a program's
list_of() {
	lo_only=
	[ "${2#*/}" = "$2" ] || lo_only=" -r ${2#*/}"
	list_for "$1" "${2%%/*}" |
		sed "/^[0-9]* ${2%%/*} /s#/tests/[a-z0-9_]*\( \|\$\)#&$lo_only #"
}

build() {
	kernel_make "$tree" build arm64 olddefconfig
	kernel_make "$tree" build arm64 Image
}
# module_of MUTANT: the same of the carve-out module, against the patched kernel: an
# archive that has it in the place of the right one
module_of() {
	m=$LOGS/mutants/module
	rm -rf "$m" "$m.root"
	mkdir -p "$m" "$m.root/modules"
	cp -R -p "$TOP/Kbuild" "$TOP/drivers" "$TOP/include" "$TOP/arch-arm64" "$TOP/selftests" "$m"
	patch -d "$m" -p1 -F0 <"$mutants/$1.patch" || return 1
	kernel_make "$W/patched" "$BUILD" arm64 M="$m" modules || return 1
	aarch64-linux-gnu-strip -g -o "$m.root/modules/carveout_heap.ko" "$m/drivers/carveout_heap.ko"
	pack "$m.root" "$LOGS/mutants/$1/module.cpio"
}
# try_test MUTANT CONFIGURATION TEST BUILD [ARCHIVE]: prints what a boot of it finds
try_test() {
	config=$2 test=$3 dir=$LOGS/mutants/$1/$2
	list_of "$config" "$test" | new_boot "$dir" "$4" 400 ${5:+"$5"}
	"$RIG/boot.sh" "$dir" >>"$log" 2>&1 || :
	"$RIG/report.sh" boot "$config" "$dir" >"$dir/results"
	if grep -q "^fail	$config/$test	" "$dir/results"; then
		echo "caught"
	elif grep -q "^fail	" "$dir/results"; then
		echo "not caught in $test; but $(sed -n 's/^fail\t\([^\t]*\)\t.*/\1/p' \
			"$dir/results" | head -n 3 | tr '\n' ' ')failed"
	elif grep -q "^[a-z]*	$config/$test	" "$dir/results"; then
		echo "survived: $(sed -n "s|^\([a-z]*\)\t$config/$test\t.*|\1|p" "$dir/results")"
	else
		echo "not tried: there is no $test in the results"
	fi
}
is_module() { [ "$(header "$1" tree)" = module ]; }
# make_mutant MUTANT: what boot.sh needs, in a directory of its own, for the next one is
# built while this one boots; prints what stands in the way
make_mutant() {
	at=$LOGS/mutants/$1
	rm -rf "$at"
	mkdir -p "$at/build/arch/arm64/boot"
	if is_module "$1"; then
		module_of "$1" >>"$log" 2>&1 || echo "does not apply or build"
		return
	fi
	# Back to what is right: files with the content that they had keep their time
	git -C "$tree" checkout -q -f --detach "$commit"
	git -C "$tree" apply --whitespace=nowarn "$mutants/$1.patch" >>"$log" 2>&1 || {
		echo "does not apply"
		return
	}
	build >>"$log" 2>&1 || {
		echo "does not build"
		return
	}
	cp "$tree/build/arch/arm64/boot/Image" "$at/build/arch/arm64/boot/"
	cp "$tree/build/modules.cpio" "$at/build/"
}
# try MUTANT: prints what became of it
try() {
	at=$LOGS/mutants/$1
	set -- "$1" "$at/build"
	! is_module "$1" || set -- "$1" "$W/patched/$BUILD" "$at/module.cpio"
	for test in $(header "$1" test); do
		what=$(try_test "$1" "$(header "$1" config)" "$test" "$2" ${3:+"$3"})
		[ "$what" = caught ] || {
			echo "$what ($test)"
			return
		}
	done
	echo "caught"
}
verdict() {
	say "$1: $2 ($(header "$1" test | tr '\n' ' ')in $(header "$1" config))"
	rm -rf "$LOGS/mutants/$1/build"
	if [ "$2" = caught ]; then
		caught=$((caught + 1))
	else
		missed=$((missed + 1))
	fi
}
# The one that boots, to its end
finish() {
	[ -n "$trying" ] || return 0
	wait "$tried" || :
	verdict "$trying" "$(cat "$LOGS/mutants/$trying/verdict")"
	trying=
}

# tests_on CONFIGURATION: those of all mutants that are tried there
tests_on() {
	for m in $chosen; do
		[ "$(header "$m" config)" != "$1" ] || header "$m" test
	done | sort -u
}

caught=0 missed=0
configs=$(for m in $chosen; do header "$m" config; done | sort -u)
for config in $configs; do
	# In the order of selftests/tests: some are not for after a module was loaded
	for test in $(tests_on "$config"); do
		list_of "$config" "$test"
	done >"$LOGS/mutants/list"
	list_for "$config" | awk 'NR == FNR { if (!at[$2]) at[$2] = FNR; next }
		!seen[$0]++ { print at[$2], $0 }' - "$LOGS/mutants/list" |
		sort -s -n -k 1,1 | cut -d ' ' -f 2- | new_boot "$LOGS/mutants/none/$config" "$W/patched/$BUILD" 1200
done
# shellcheck disable=SC2046	# paths of ours, without blanks
"$RIG/boots.sh" $(for config in $configs; do echo "$LOGS/mutants/none/$config"; done)
for config in $configs; do
	dir=$LOGS/mutants/none/$config
	"$RIG/report.sh" boot "$config" "$dir" >"$dir/results"
	for test in $(tests_on "$config"); do
		if grep -q "^fail	$config/$test	" "$dir/results" ||
			! grep -q "^pass	$config/$test	" "$dir/results"; then
			say "no mutant: $test does not pass on $config"
			missed=$((missed + 1))
		fi
	done
done
trying=
for m in $chosen; do
	why=$(make_mutant "$m")
	finish
	if [ -n "$why" ]; then
		verdict "$m" "$why"
		continue
	fi
	try "$m" >"$LOGS/mutants/$m/verdict" &
	tried=$! trying=$m
done
finish
[ -z "$commit" ] || git -C "$tree" checkout -q -f --detach "$commit"
echo
echo "$caught mutants caught, $missed not"
[ "$missed" = 0 ]

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: qemu-test.sh
#
# make qemu-test: what a maintainer of QEMU would have a series go through. The commits
# are those of `make qemu-tree`: the series, or what is being made of it there.
#
# - Each of them builds and links, without a warning, in two configurations: that of
#   `make qemu` (arm64, KVM, no TCG), and a native one (Arm's virtual machine with TCG
#   and no KVM; x86 with both). Each C file that it touches is compiled in one of them.
# - QEMU's own tests of what the series touches, the series' own one among them, pass
#   with it, unless they fail without it, too, where they are run for comparison.
#
# The last line is a count: commits, and subtests of the tests. What has been built, and
# what tests have said, is not done again until it changes: a commit, QEMU's source, the
# compilers or a script. AGAIN=1 does all of it. Builds are not kept, ccache is.
#
# QEMU's tests run in namespaces with no capability of the caller, who may be root, and
# all of them end with the one that was started first. There is no KVM for them: what
# they say is the same everywhere, some hosts' KVM hangs in the tests of migration, and
# KVM with the series is what make demo and make check ONLY=vmm are about.

. "$(dirname "$0")/lib.sh"

# By the files that the series touches: displays, memory backends and what uses them,
# RAM and how it is shown, its migration, properties of all devices. Not bios-tables-test,
# which wants EDK2's binaries: Debian's source package has none. Not the x86 machine's
# migration-test: it takes minutes, and has hardly anything that the Arm machine's has not.
tests='display-memdev-test display-vga-test device-introspect-test device-plug-test
	qom-test qmp-cmd-test test-hmp readconfig-test machine-none-test qos-test
	ivshmem-test numa-test erst-test i440fx-test q35-test boot-serial-test
	migration-test'

"$RIG/tools.sh" emulator qtest
lock
dir=$CACHE/qemu/test
log=$CACHE/qemu-test.log
tree=$("$RIG/qemu.sh" tree)
: >"$log"

key=$({
	hash_of "$0" "$RIG/qemu.sh"
	gcc --version | head -n 1
	aarch64-linux-gnu-gcc --version | head -n 1
} | sha256sum | cut -c1-12)
content() { git -C "$tree" rev-parse "$1^{tree}"; }
built() { echo "$dir/built/$(content "$1")-$key"; }
results() { echo "$dir/results/$(content "$1")-$key"; }
[ -z "${AGAIN:-}" ] || rm -rf "$dir/built" "$dir/results"
mkdir -p "$dir/built" "$dir/results"
clean() {
	rm -rf "$dir/src" "$dir/native" "$dir/build"
	git -C "$tree" worktree prune
}
clean

# What follows is called in conditions, where -e has no effect.

# at COMMIT: a work tree of it, in which only what differs is touched
at() {
	[ -d "$dir/src" ] || git -C "$tree" worktree add -q --detach "$dir/src" "$1" || return
	git -C "$dir/src" checkout -q -f --detach "$1"
}

# Of the boards that TCG has, only the one that KVM has, too; x86 has what it has by
# default. spice is for qxl.
configure_native() {
	rm -rf "$dir/native"
	mkdir "$dir/native"
	devices=$dir/src/configs/devices
	{
		# Those two are not in the lists
		printf 'CONFIG_%s\n' ARM_VIRT=y ALLWINNER_R40=n FSL_IMX8MP_EVK=n
		sed -n 's/^# *\(CONFIG_.*=n\)$/\1/p' "$devices/arm-softmmu/default.mak" \
			"$devices/aarch64-softmmu/default.mak" | grep -v '_ARM_VIRT=\|_DEVICES='
	} >"$devices/aarch64-softmmu/rig-native.mak"
	cd "$dir/native" && CCACHE_BASEDIR=$dir ../src/configure --cc="ccache gcc" \
		--python=/usr/bin/python3 --prefix=/usr \
		--target-list=aarch64-softmmu,x86_64-softmmu --with-devices-aarch64=rig-native \
		--without-default-features --enable-tcg --enable-kvm --enable-vnc \
		--enable-pixman --enable-fdt=system --enable-spice --enable-vhost-kernel \
		--enable-vhost-net --enable-vhost-vdpa --enable-werror --disable-download \
		--disable-install-blobs --disable-debug-info &&
		# Where it looks for the firmware that the source package has not
		ln -sf /usr/share/seabios/*.bin /usr/lib/ipxe/qemu/*.rom /usr/share/qemu/*.bin \
			qemu-bundle/usr/share/qemu
}
configured() {
	[ -e "$dir/native/build.ninja" ] ||
		quietly "configuring QEMU, native" "$log" configure_native || return
	[ "$1" = native ] || [ -e "$dir/build/build.ninja" ] ||
		quietly "configuring QEMU, for arm64" "$log" "$RIG/qemu.sh" configure "$dir"
}
make_in() {
	mi_build=$1
	shift
	CCACHE_BASEDIR=$dir ninja -C "$dir/$mi_build" -j "$JOBS" "$@"
}

# objects_of BUILD FILE...: those that a build makes, or could make, of C files
objects_of() {
	oo_build=$1
	shift
	for f in "$@"; do
		sed -n "s|^build \([^ :]*\): c_COMPILER[^ ]* \.\./src/$f\( .*\)*\$|\1|p" \
			"$dir/$oo_build/build.ninja"
	done
}
touched() {
	git -C "$tree" diff --name-only --diff-filter=d "$1^" "$1" -- '*.c'
}
build_commit() {
	# What this commit's meson.build says comes first
	make_in build build.ninja && make_in native build.ninja || return
	files=$(touched "$1")
	for f in $files; do
		[ -n "$(objects_of build "$f")$(objects_of native "$f")" ] || {
			echo "nothing is made of $f"
			return 1
		}
	done
	# shellcheck disable=SC2046,SC2086	# lists
	make_in build qemu-system-aarch64 $(objects_of build $files) &&
		make_in native qemu-system-aarch64 qemu-system-x86_64 $(objects_of native $files)
}

# names: those of the tests that this commit has
names() {
	# shellcheck disable=SC2086	# a list
	"$dir/native/pyvenv/bin/meson" test -C "$dir/native" --no-rebuild --list |
		sed -n 's|^.* \(qtest-[^ ]*\)$|\1|p' | grep -E "/($(echo $tests | tr ' ' '|'))\$" |
		grep -v x86_64/migration-test
}
build_tests() {
	make_in native build.ninja || return
	# shellcheck disable=SC2046	# a list
	make_in native qemu-system-aarch64 qemu-system-x86_64 \
		$(names | sed 's|^qtest-[^/]*/|tests/qtest/|' | sort -u)
}

# What meson's log says, by subtest; a test that does not end well is one of its own
subtests() {
	awk '
		/^test: / { test = $NF; next }
		/^result: / && $0 !~ /exit status 0$/ { print "fail " test " as a whole" }
		/^ok [0-9]+ .* # SKIP/ { print "skip " test " " $3; next }
		/^ok [0-9]+ / { print "pass " test " " $3; next }
		/^not ok [0-9]+ / { print "fail " test " " $4 }
	' "$1"
}
# run_tests COMMIT LOG
run_tests() {
	tmp=$(mktemp -d) || return
	# shellcheck disable=SC2064	# now
	trap "rm -rf '$tmp'" EXIT
	trap 'exit 130' INT TERM HUP
	# Where the build has found a /dev/kvm, migration-test gets --full, which takes
	# very long without KVM
	cat >"$dir/native/not-full" <<-'END'
		#!/bin/sh
		for a; do
			shift
			[ "$a" = --full ] || set -- "$@" "$a"
		done
		exec "$@"
	END
	chmod 755 "$dir/native/not-full"
	# The time limits are for a machine that does nothing else.
	# shellcheck disable=SC2016,SC2046	# for the inner shell; a list
	TMPDIR=$tmp unshare --user --map-root-user --mount sh -c '
		[ ! -e /dev/kvm ] || {
			: >"$1"
			chmod 0 "$1"
			mount --bind "$1" /dev/kvm
		}
		shift
		exec unshare --user --map-user=65534 --map-group=65534 --pid --fork --kill-child "$@"
	' sh "$dir/native/no-kvm" "$dir/native/pyvenv/bin/meson" test -C "$dir/native" --no-rebuild \
		--num-processes "$JOBS" -t 5 --wrapper "$dir/native/not-full" $(names) || :
	cp "$dir/native/meson-logs/testlog-not-full.txt" "$2" || return
	subtests "$2" >"$(results "$1").new"
	# Its tests take away what they make
	find "$tmp" -name 'qtest-memdev*' | sed 's|^.*/|fail qtest-x86_64/display-memdev-test left |' \
		>>"$(results "$1").new"
	[ -s "$(results "$1").new" ] && mv "$(results "$1").new" "$(results "$1")"
}
tested() {
	[ ! -s "$(results "$1")" ] || return 0
	at "$1" && configured native &&
		quietly "building QEMU and its tests, $2" "$log" build_tests "$1" &&
		quietly "running QEMU's tests, $2" "$log" run_tests "$1" "$CACHE/qemu-test.$3.log"
}

# compare: what the tests say with the series, and what they said without it
compare() {
	awk -v log_file="$CACHE/qemu-test.series.log" '
		{ name = $2 " " $3; for (i = 4; i <= NF; i++) name = name " " $i }
		NR == FNR { before[name] = $1; next }
		{
			after[name] = 1
			was = name in before ? before[name] : "none"
			if ($1 == "fail" && was == "fail")
				print "skip\t" name "\tfails without the series, too"
			else if ($1 == "fail")
				print "fail\t" name "\t" log_file
			else if ($1 == "skip" && was != "skip")
				print "fail\t" name "\tskipped, and was not without the series; " log_file
			else
				print $1 "\t" name "\t"
		}
		END {
			for (name in before)
				if (before[name] == "pass" && !(name in after))
					print "fail\t" name "\tis not there with the series; " log_file
		}' "$1" "$2"
	# The tests that the series brings have run
	git -C "$tree" diff --name-only base memtype -- 'tests/qtest/*-test.c' |
		sed 's|^tests/qtest/\(.*\)\.c$|\1|' | while read -r t; do
		grep -q "^pass qtest-[^ ]*/$t " "$2" || printf 'fail\t%s\tdid not run\n' "$t"
	done
}

verdict=$dir/verdict
: >"$verdict"
commits=$(git -C "$tree" rev-list --reverse base..memtype)
nr=$(echo "$commits" | wc -l)
last=$(git -C "$tree" rev-parse memtype)

tested base "without the series" base ||
	printf 'fail\twithout the series\tnothing to compare with; %s\n' "$log" >>"$verdict"
n=0
for c in $commits; do
	n=$((n + 1))
	subject=$(git -C "$tree" log -1 --format=%s "$c")
	[ -e "$(built "$c")" ] || {
		if at "$c" && configured both &&
			quietly "$n/$nr $subject" "$log" build_commit "$c"; then
			touch "$(built "$c")"
		fi
	}
	if [ -e "$(built "$c")" ]; then
		printf 'pass\t%d/%d %s\t\n' "$n" "$nr" "$subject"
	else
		printf 'fail\t%d/%d %s\tdoes not build: make qemu-tree, git rebase -i, make qemu-export; %s\n' \
			"$n" "$nr" "$subject" "$log"
	fi >>"$verdict"
done
if tested "$last" "with the series" series; then
	[ ! -s "$(results base)" ] || compare "$(results base)" "$(results "$last")" >>"$verdict"
else
	printf 'fail\twith the series\tits tests did not run; %s\n' "$log" >>"$verdict"
fi

sed -n 's/^fail\t\([^\t]*\)\t/failed: \1: /p' "$verdict"
awk -F '\t' '{ n[$1]++ }
	END {
		printf "%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"]
		exit n["fail"] > 0 || !n["pass"]
	}' "$verdict" || exit 1
clean

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: board.sh make|tarball|plan|results
#
# make board: one tarball for somebody with an arm64 machine: the selftests of the series
# and ours, static, laid out as `make -C tools/testing/selftests install` does it, with
# the kernel's own runner; the module's package and the source of all modules; and what
# makes a report of it (selftests/board). "tarball" is "make" where all is built.
#
# The part "board" of make check unpacks this very tarball in the rig's machine, where it
# is told of one BAR and one pool, and nothing of the rig. "plan" says which boots it
# takes, "results" prints what came of them, one a line: what the tests said, that every
# skip has a reason, that bad input gets its sentence, and that the machine is left as
# it was, also by a run that is interrupted.

. "$(dirname "$0")/lib.sh"

board=$CACHE/board
name='kvm-arm64-memtype-board'
tarball=$board/$name.tar.gz
dir=$LOGS/board
# make pages has the others
configs='n2 stock-n2'
[ -z "${RIG_PAGES:-}" ] || configs='max-16k max-64k'
# Each has fewer tests that pass at least, as there are that must
least() {
	case $1 in
	stock-*) echo 60 ;;
	*) echo 350 ;;
	esac
}

# What is run, by collection, beside those that the series adds to them: the rest shows
# something, is part of another, or needs the rig's machine
kvm='s2_rig_control s2_uapi s2_policy s2_invariants s2_blobs s2_vgem s2_prefault s2_nested
	s2_enomem s2_rounds s2_audit s2_fuzz'
vfio='vfio_types vfio_uapi vfio_policy vfio_ranges vfio_barrier vfio_removal'
carveout='carveout_heap carveout_shared carveout_stress carveout_large carveout_kvm
	carveout_hostile carveout_unbind'
bench='coherency_probe store_bench'
helpers='kvm_features vfio_memory_bar'
# A test has this long, where a machine is as slow as an emulated one
timeout=600

tarball() (
	tree=$W/patched built=$W/patched/$BUILD
	mkdir -p "$board"
	root=$(mktemp -d)
	trap 'rm -rf "$root"' EXIT
	trap 'exit 130' INT TERM HUP
	to=$root/$name
	mkdir -p "$to/kselftest"
	from=$tree/tools/testing/selftests
	install -m 755 "$from/run_kselftest.sh" "$to/"
	for f in module.sh runner.sh prefix.pl ktap_helpers.sh ksft.py; do
		install -m 755 "$from/kselftest/$f" "$to/kselftest/"
	done
	for f in run report noncacheable_bar.sh; do
		install -m 755 "$TOP/selftests/board/$f" "$to/"
	done
	install -m 644 "$TOP/selftests/board/README" "$TOP/selftests/board/totals.awk" "$to/"

	for c in kvm vfio carveout bench; do
		mkdir "$to/$c"
		printf '# A test that takes longer is ended\ntimeout=%s\n' $timeout >"$to/$c/settings"
		case $c in
		kvm) ours=$kvm ;;
		vfio) ours=$vfio ;;
		carveout) ours=$carveout ;;
		bench) ours=$bench ;;
		esac
		# Those of the series first: they say whether it is there
		sed -n "s|^$c/||p" "$built/own-tests" | while read -r t; do
			t=${t##*/}
			aarch64-linux-gnu-strip -o "$to/$c/$t" "$(find "$built/$c" -name "$t" -type f)"
			echo "$c:$t"
		done
		[ $c != kvm ] || {
			mv "$to/noncacheable_bar.sh" "$to/kvm/"
			echo kvm:noncacheable_bar.sh
		}
		for t in $ours; do
			aarch64-linux-gnu-strip -o "$to/$c/$t" "$W/tests/$t"
			echo "$c:$t"
		done
	done >"$to/kselftest-list.txt"
	for t in $helpers; do
		aarch64-linux-gnu-strip -o "$to/${t%%_*}/$t" "$W/tests/$t"
	done

	rm -rf "$board/deb"
	deb=$("$TOP/drivers/deb.sh" "$board/deb")
	install -m 644 "$deb" "$to/"
	# Of all modules that are of use there, laid out as here; not what a build has left
	(cd "$TOP" && find Kbuild drivers include/uapi arch-arm64/*.[ch] \
		selftests/modules/memtype_test.* selftests/carveout/Kbuild \
		selftests/carveout/dmabuf_importer.[ch] -type f ! -path '*/debian/*' \
		! -name '*.o' ! -name '*.ko' ! -name '*.mod' ! -name '*.mod.c' ! -name '.*' \
		! -name modules.order ! -name Module.symvers ! -name deb.sh |
		cpio -pdm --quiet "$to/src")
	printf '# SPDX-License-Identifier: GPL-2.0\nobj-m := memtype_test.o\n' \
		>"$to/src/selftests/modules/Kbuild"
	git -C "$tree" show "HEAD:Documentation/virt/kvm/arm/memory-types.rst" >"$to/memory-types.rst"
	git -c safe.directory="$TOP" -C "$TOP" log -1 --format="commit %h of %cs, tests of $BASE and $SERIES" \
		>"$to/VERSION" 2>/dev/null || echo "tests of $BASE and $SERIES" >"$to/VERSION"

	chmod -R u=rwX,go=rX "$root"
	tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar \
		-c "$name" | gzip -9n >"$tarball.new"
	mv "$tarball.new" "$tarball"
)

make() {
	"$RIG/tools.sh" package
	lock
	"$RIG/base.sh"
	"$RIG/build.sh" patched
	"$RIG/initramfs.sh" tests
	quietly "making the tarball" "$LOGS/board.log" tarball
	echo "$tarball"
}

plan() {
	# The tarball and the package in it say which commit they are of
	key=$(hash_of "$0" "$RIG/board-guest.sh" "$TOP/selftests/board" "$TOP/drivers" "$W/tests/tests.cpio" \
		"$TOP"/arch-arm64/*.[ch] "$TOP/selftests/modules")
	quietly "making the tarball" "$LOGS/board.log" tarball >&2
	# With it: what is done there, and a module that is of another kernel than Debian's
	root=$(mktemp -d)
	trap 'rm -rf "$root"' EXIT
	trap 'exit 130' INT TERM HUP
	mkdir "$root/board"
	cp "$tarball" "$root/board/"
	install -m 755 "$RIG/board-guest.sh" "$root/board/guest"
	ko=$(find "$W/patched/$BUILD/rig-modules" -name memtype_test.ko)
	aarch64-linux-gnu-strip -g -o "$root/board/memtype_test.ko" "$ko"
	pack "$root" "$board/board.cpio"
	# cpu max, which has large pages, is slower than the others
	slow=${RIG_PAGES:+2}
	slow=${slow:-1}
	for c in $configs; do
		b=$(build_of "$c")
		"$RIG/initramfs.sh" modules "$b" >&2
		# What no memory map of the kernel has
		case $c in
		*-64k) where='HEAP=0x280000000 REST=0xC0000000@0x1C0000000' ;;
		*) where='HEAP=0x120000000 REST=0x60000000@0xC0000000' ;;
		esac
		{
			echo "60 unpack OF=$key $where /board/guest unpack"
			for t in bad_input:500 interrupted:400 run:1500 scrub:120; do
				echo "$((${t#*:} * slow)) board_${t%:*} $where /board/guest ${t%:*}"
			done
		} | plan_boot "$dir/$c" "$b" $((2400 * slow))
		echo "$board/board.cpio" >"$dir/$c/archives"
	done
}

results() {
	for c in $configs; do
		b=$dir/$c
		{
			"$RIG/report.sh" boot "board-$c" "$b"
			for f in ktap totals report.txt; do
				file_of "$b/port.log" $f >"$b/$f"
			done
			summary=$(tail -n 1 "$b/totals")
			passed=${summary%% passed*}
			why=
			if [ ! -s "$b/ktap" ]; then
				why="no results"
			elif ! echo "$summary" | grep -q ', 0 failed,'; then
				why="$summary: $(sed -n 's/^failed: //p' "$b/totals" | head -n 1)"
			elif [ "$passed" -lt "$(least "$c")" ]; then
				why="$summary, expected $(least "$c") passed"
			elif grep -q 'skipped: no reason given' "$b/totals"; then
				why="a test was skipped without a reason"
			fi
			v=pass
			[ -z "$why" ] || v=fail
			printf '%s\tboard-%s/kselftest\t%s\n' "$v" "$c" "$why"
		} >"$b/results"
		cat "$b/results"
		grep -q ^fail "$b/results" || [ ! -f "$b/key" ] || mv "$b/key" "$b/passed"
	done
}

case ${1:-} in
make | tarball | plan | results) "$1" ;;
*) die "make, tarball, plan or results?" ;;
esac

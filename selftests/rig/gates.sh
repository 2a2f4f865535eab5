#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# usage: gates.sh [results] [gate...]
#
# Runs the checks that need no boot, all of them or those named, and prints a
# summary; with "results", each as a result line (see report.sh). A gate that has passed is not run again until
# one of its inputs changes. Builds the patched kernel on the way: the last step
# of the gate "bisect".

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"
if [ "${1:-}" != results ]; then
	mkdir -p "$W"
	"$0" results "$@" >"$W/gates.tsv"
	exec "$RIG/report.sh" summary "$W/gates.tsv"
fi
shift
RIG_QUIET=1 "$RIG/base.sh" >&2
lock

unset DEBUG
mkdir -p "$W/stamps" "$LOGS/gates"
series=$(series_files)
nr=$(echo "$series" | grep -c . || :)
# what every gate on the series depends on
# shellcheck disable=SC2086	# file names of ours, without blanks
inputs=$(hash_of $series "$PATCHES/0000-cover-letter.patch" "$W/source")

# gate NAME KEY FUNCTION
gate() {
	[ -z "$wanted" ] || case " $wanted " in
	*" $1 "*) ;;
	*) return 0 ;;
	esac
	g_log=$LOGS/gates/$1.log
	if [ "$(cat "$W/stamps/$1" 2>/dev/null)" = "$2" ]; then
		printf 'pass\tgates/%s\t\n' "$1"
		return 0
	fi
	rm -f "$W/stamps/$1"
	rm -f "$g_log"
	set +e
	(
		set -e
		export V=0
		quietly "gate: $1" "$g_log" "$3"
	) >&2
	g_rc=$?
	set -e
	if [ "$g_rc" = 0 ]; then
		echo "$2" >"$W/stamps/$1"
		printf 'pass\tgates/%s\t\n' "$1"
	else
		printf 'fail\tgates/%s\t%s; %s\n' "$1" \
			"$(grep -v '^$' "$g_log" | tail -n 1 | tr '\t' ' ')" "$g_log"
	fi
}

# The series applies, every patch without fuzz, as git and as patch see it.
series_applies() {
	[ "$nr" -gt 0 ] || {
		echo "patches/$BASE has no patches"
		return 1
	}
	tree=$(RIG_QUIET=1 "$RIG/tree.sh" apply)
	git -C "$tree" checkout -q -f --detach base
	r=0
	for p in $series; do
		patch -d "$tree" -p1 -F0 --dry-run -f <"$p" >"$LOGS/gates/patch" 2>&1 || r=1
		grep -q 'FAILED\|fuzz' "$LOGS/gates/patch" && {
			cat "$LOGS/gates/patch"
			echo "$(basename "$p"): does not apply cleanly"
			r=1
		}
		git -C "$tree" apply --check "$p" || r=1
		git -C "$tree" apply --index "$p" || r=1
	done
	git -C "$tree" checkout -q -f --detach base
	"$RIG/tree.sh" apply >/dev/null
	return $r
}

# A tree made from the series, exported, is the series. Blob hashes and line
# numbers are those of the point release it was exported from: on another one
# they are left out of the comparison.
roundtrip() {
	tmp=$(mktemp -d)
	TREE=$W/apply "$RIG/export.sh" "$tmp/new" || return 1
	mkdir "$tmp/old"
	cp "$PATCHES"/[0-9]*.patch "$tmp/old/"
	now=$(git -C "$W/src" rev-parse base)
	if ! grep -qx "base-commit: $now" "$tmp/old/0000-cover-letter.patch"; then
		echo "the series was exported from another point release"
		sed -i 's/^index .*//; s/^@@ [^@]* @@.*/@@/; s/^base-commit: .*//' \
			"$tmp"/old/*.patch "$tmp"/new/*.patch
	fi
	r=0
	diff -ru "$tmp/old" "$tmp/new" || r=1
	rm -rf "$tmp"
	[ $r = 0 ] || echo "'make tree export' changes the series"
	return $r
}

# Every commit builds alone, without a warning; the last one is the kernel that
# is booted. What was built before is not built again, whatever it says by now.
bisect() {
	tree=$W/apply
	n=0
	for c in $(git -C "$tree" rev-list --reverse base..HEAD); do
		n=$((n + 1))
		s=$W/stamps/tree-$(git -C "$tree" rev-parse "$c^{tree}")-$config
		[ ! -e "$s" ] || continue
		printf '%s\n' "[$n/$nr] $(git -C "$tree" log -1 --format=%s "$c")"
		# The uAPI headers or the KVM selftests: build those as well
		only=1
		git -C "$tree" diff --quiet "$c^" "$c" -- include/uapi \
			arch/arm64/include/uapi tools/ || only=
		RIG_KERNEL_ONLY=$only "$RIG/build.sh" patched "$c" || {
			echo "commit $n of $nr does not build: $(git -C "$tree" log -1 --format=%s "$c")"
			return 1
		}
		if grep 'warning:' "$LOGS/build-patched.log"; then
			echo "commit $n of $nr builds with warnings"
			return 1
		fi
		touch "$s"
	done
	"$RIG/build.sh" patched
}

# checkpatch --strict on every patch; what is allowed is in checkpatch.allowed.
checkpatch_patches() {
	r=0
	for p in $series; do
		# The distribution's python has the modules that spdxcheck wants
		(cd "$W/apply" && PATH="/usr/bin:$PATH" ./scripts/checkpatch.pl --strict \
			--no-summary --terse --show-types "$p") >"$LOGS/gates/checkpatch.1" 2>&1 || :
		grep -q 'ERROR\|WARNING\|CHECK\|^$' "$LOGS/gates/checkpatch.1" ||
			[ ! -s "$LOGS/gates/checkpatch.1" ] || {
			cat "$LOGS/gates/checkpatch.1"
			echo "checkpatch did not run"
			r=1
		}
		! grep -q Traceback "$LOGS/gates/checkpatch.1" || {
			cat "$LOGS/gates/checkpatch.1"
			echo "checkpatch could not check SPDX tags"
			r=1
		}
		grep -E 'ERROR:|WARNING:|CHECK:' "$LOGS/gates/checkpatch.1" |
			while read -r line; do
				allowed "$(basename "$p")" "$line" || echo "$line"
			done >"$LOGS/gates/checkpatch.2"
		[ ! -s "$LOGS/gates/checkpatch.2" ] || {
			cat "$LOGS/gates/checkpatch.2"
			r=1
		}
	done
	return $r
}
# allowed FILE LINE: is there a line "<file glob> <type> <reason>" for it?
allowed() {
	while read -r glob type _; do
		case $glob in '#'* | '') continue ;; esac
		# shellcheck disable=SC2254	# a glob on purpose
		case $1 in
		$glob)
			case $2 in *":$type:"*) return 0 ;; esac
			;;
		esac
	done <"$RIG/checkpatch.allowed"
	return 1
}
checkpatch_sees() {
	printf '// SPDX-License-Identifier: GPL-2.0\nint  planted( void )\n{\n}\n' >"$LOGS/gates/planted.c"
	(cd "$W/src" && ./scripts/checkpatch.pl --no-tree --strict --terse -f \
		"$LOGS/gates/planted.c") | grep -q 'ERROR: space prohibited'
}

# Objects of the kernel that are made from the C files the series touches, as
# the build of TREE recorded them.
touched() { git -C "$W/apply" diff --name-only --diff-filter=d base HEAD; }
touched_kernel_c() { touched | grep '\.c$' | grep -v '^tools/\|^Documentation/'; }
sources_of() {
	(cd "$1/build" && find . -name '.*.o.cmd' -exec grep -h '^source_' {} +) |
		sed 's/^source_//; s/ := \.\.\// /' |
		while read -r obj src; do
			while :; do
				case $src in
				*/../*) src=$(echo "$src" | sed 's|[^/]*/\.\./||') ;;
				*) break ;;
				esac
			done
			echo "$src $obj"
		done
}

# Every C file that the series touches was compiled.
compiled() {
	sources_of "$W/patched" >"$LOGS/gates/sources"
	r=0
	for f in $(touched | grep '\.c$'); do
		case $f in
		tools/testing/selftests/kvm/* | tools/testing/selftests/vfio/*)
			o=${f#tools/testing/selftests/}
			[ -f "$W/patched/build/${o%.c}.o" ] || {
				echo "$f: not compiled"
				r=1
			}
			;;
		*)
			grep -q "^$f " "$LOGS/gates/sources" || {
				echo "$f: not compiled"
				r=1
			}
			;;
		esac
	done
	return $r
}

# analyse TREE DIR: W=1 and sparse on the touched files as they are in TREE.
analyse() {
	mkdir -p "$2" "$1/build-gate"
	cp "$1/build/.config" "$1/build-gate/.config"
	sources_of "$1" >"$2/sources"
	touched_kernel_c | while read -r f; do
		grep "^$f " "$2/sources" | cut -d' ' -f2
	done | sort -u >"$2/objects"
	ccache=
	! command -v ccache >/dev/null || ccache='ccache '
	RIG_SPARSE_LOG=$2/sparse
	export RIG_SPARSE_LOG
	kmake() {
		make -C "$tree" O=build-gate -s -j"$JOBS" ARCH=arm64 \
			CROSS_COMPILE=aarch64-linux-gnu- \
			CC="${ccache}aarch64-linux-gnu-gcc" HOSTCC="${ccache}gcc" "$@"
	}
	tree=$1
	kmake olddefconfig prepare || return 1
	: >"$2/sparse"
	: >"$2/W1"
	# warnings appear when an object is made: make them all
	while read -r o; do
		rm -f "$tree/build-gate/$o"
	done <"$2/objects"
	# shellcheck disable=SC2046	# file names of the kernel, without blanks
	[ ! -s "$2/objects" ] || kmake -j1 W=1 C=2 CHECK="$RIG/sparse.sh" \
		$(cat "$2/objects") >"$2/W1" 2>&1 || {
		cat "$2/W1"
		return 1
	}
	# one line a finding, in touched files only, without line numbers
	touched >"$2/touched"
	for log in W1 sparse; do
		sed -n 's,^\(\.\./\)\?\([^ :]*\):[0-9:]* \(.*\(warning\|error\).*\),\2: \3,p' "$2/$log" |
			sed ':a; s,[^/ ]*/\.\./,,; ta' | grep -F -f "$2/touched" |
			sort >"$2/$log.findings" || :
	done
}
# Analysed once for both gates
analyse_both() {
	key="$inputs $(hash_of "$RIG/sparse.sh" "$RIG/gates.sh") $config"
	[ "$(cat "$LOGS/gates/analysed" 2>/dev/null)" != "$key" ] || return 0
	rm -f "$LOGS/gates/analysed"
	echo "the base kernel's own findings"
	analyse "$W/src" "$LOGS/gates/base" || return 1
	echo "the patched kernel's"
	analyse "$W/patched" "$LOGS/gates/patched" || return 1
	echo "$key" >"$LOGS/gates/analysed"
}
# new_findings LOG: what the patched kernel has and the base has not
new_findings() {
	analyse_both || return 1
	[ -s "$LOGS/gates/patched/objects" ] || {
		echo "no object was analysed"
		return 1
	}
	comm -13 "$LOGS/gates/base/$1.findings" "$LOGS/gates/patched/$1.findings" >"$LOGS/gates/$1.new"
	cat "$LOGS/gates/$1.new"
	[ ! -s "$LOGS/gates/$1.new" ]
}
w1() { new_findings W1; }
sparse() {
	new_findings sparse || return 1
	# each of them was really looked at: see sparse.sh
	r=0
	sed -n 's/^checked: \.\.\///p' "$LOGS/gates/patched/sparse" |
		sed ':a; s,[^/ ]*/\.\./,,; ta' | sort -u >"$LOGS/gates/checked"
	for f in $(touched_kernel_c); do
		# sparse has limits that a file of the base kernel may exceed
		! grep -q "^$f: error: sparse does not see" "$LOGS/gates/base/sparse.findings" || {
			echo "$f: sparse gives up on the base kernel's, too"
			continue
		}
		grep -qxF "$f" "$LOGS/gates/checked" || {
			echo "$f: sparse did not check it, or did not see a planted error"
			r=1
		}
	done
	return $r
}

# What the series changes outside of arm64's own code builds on x86, without a
# warning. The base's own warnings with W=1 would be in the way.
x86() {
	ccache=
	! command -v ccache >/dev/null || ccache='ccache '
	cross=
	[ "$(uname -m)" = x86_64 ] || cross=x86_64-linux-gnu-
	kmake() {
		make -C "$W/apply" O=build-x86 -s -j"$JOBS" ARCH=x86 \
			CROSS_COMPILE="$cross" CC="$ccache${cross}gcc" \
			HOSTCC="${ccache}gcc" "$@"
	}
	kmake tinyconfig || return 1
	(cd "$W/apply/build-x86" && ../scripts/kconfig/merge_config.sh -m -O . .config \
		"$RIG/x86.config") || return 1
	kmake olddefconfig || return 1
	grep '^CONFIG' "$RIG/x86.config" | grep -vxFf "$W/apply/build-x86/.config" && {
		echo "options that the merge lost"
		return 1
	}
	# made again, for a warning appears when an object is made
	(cd "$W/apply/build-x86" && rm -rf arch/x86/kvm virt drivers/vfio)
	kmake prepare arch/x86/kvm/ drivers/vfio/ >"$LOGS/gates/x86.build" 2>&1 || {
		cat "$LOGS/gates/x86.build"
		return 1
	}
	! grep 'warning:' "$LOGS/gates/x86.build"
}

# kernel-doc on the touched files: nothing that the base does not say as well.
kernel_doc() {
	tool=
	for t in tools/docs/kernel-doc scripts/kernel-doc; do
		[ -n "$tool" ] || [ ! -e "$W/apply/$t" ] || tool=$t
	done
	printf '/**\n * planted - no such parameter\n * @y: none\n */\nint planted(int x)\n{\n}\n' >"$LOGS/gates/doc.c"
	(cd "$W/apply" && "./$tool" -none -Wall "$LOGS/gates/doc.c") 2>&1 | grep -qi 'warning' || {
		echo "kernel-doc does not see a planted error"
		return 1
	}
	for t in src apply; do
		touched | grep '\.[ch]$' | while read -r f; do
			[ ! -f "$W/$t/$f" ] ||
				(cd "$W/$t" && "./$tool" -none -Wall "$f") 2>&1
		done | sed 's/:[0-9]\+//' | sort >"$LOGS/gates/doc.$t"
	done
	comm -13 "$LOGS/gates/doc.src" "$LOGS/gates/doc.apply" >"$LOGS/gates/doc.new"
	cat "$LOGS/gates/doc.new"
	[ ! -s "$LOGS/gates/doc.new" ]
}

# Our own files
shell_files() { find "$TOP/selftests" "$TOP/.ci" "$TOP/drivers" -type f \( -name '*.sh' -o -name init -o -name run \
	-o -path '*/demo/guest' -o -path '*/demo/l1-*' \); }
shellcheck_ours() {
	# shellcheck disable=SC2016
	printf '#!/bin/sh\necho $1\n' | shellcheck - >/dev/null && {
		echo "shellcheck does not see a planted error"
		return 1
	}
	# SC1091, SC2153: lib.sh is found by a path that is known only when run
	shell_files | xargs -d '\n' shellcheck -x -e SC1091,SC2153
}
c_files() { find "$TOP/selftests" "$TOP/drivers" "$TOP/include" "$TOP/arch-arm64" -name '*.[ch]' 2>/dev/null; }
checkpatch_ours() {
	checkpatch_sees || {
		echo "checkpatch does not see a planted error"
		return 1
	}
	# --no-tree: they are not in a kernel tree, so their paths mean nothing. The
	# root is where names in CamelCase are looked up, which leaves a file.
	(cd "$LOGS/gates" && c_files | xargs -r -d '\n' "$W/src/scripts/checkpatch.pl" \
		--no-tree --root="$W/src" -f --strict --no-summary --terse \
		--show-types) >"$LOGS/gates/checkpatch.1" 2>&1 || :
	while read -r line; do
		file=${line%%:*}
		allowed "${file#"$TOP/"}" "$line" || echo "$line"
	done <"$LOGS/gates/checkpatch.1" >"$LOGS/gates/checkpatch.2"
	cat "$LOGS/gates/checkpatch.2"
	[ ! -s "$LOGS/gates/checkpatch.2" ]
}

# The carve-out module builds as `make module` does it, with W=1, sparse and its
# debugging option, and none of them has anything to say.
module_builds() {
	m=$LOGS/gates/module
	rm -rf "$m"
	mkdir -p "$m"
	cp -R -p "$TOP/drivers" "$TOP/arch-arm64" "$m"
	RIG_SPARSE_LOG=$m/sparse
	export RIG_SPARSE_LOG
	r=0
	: >"$m/sparse"
	for debug in '' 1; do
		find "$m" -name '*.o' -delete
		make -C "$W/patched" O="$BUILD" -s -j"$JOBS" ARCH=arm64 \
			CROSS_COMPILE=aarch64-linux-gnu- M="$m/drivers" W=1 C=2 \
			CHECK="$RIG/sparse.sh" CARVEOUT_DEBUG="$debug" modules >"$m/log" 2>&1 || {
			cat "$m/log"
			return 1
		}
		! grep 'warning:' "$m/log" || r=1
	done
	! grep '\(carveout[a-z_]*\|compat\)\.[ch]:.*\(warning\|error\)' "$m/sparse" || r=1
	objects=$(sed -n 's/^carveout_heap-y := //p' "$TOP/drivers/Kbuild")
	[ -n "$objects" ] || {
		echo "drivers/Kbuild names no object"
		return 1
	}
	for o in $objects; do
		f=$(basename "$o" .o).c
		grep -q "^checked: \(.*/\)\{0,1\}$f$" "$m/sparse" || {
			echo "$f: sparse did not check it, or did not see a planted error"
			r=1
		}
	done
	return $r
}

# The device-tree bindings and their examples, by the tools of devicetree.org. Not
# every Debian has them, and those that have them lack schemas.
bindings() {
	root=$CACHE/dt-schema
	[ -f "$root/complete" ] || {
		apt_root sid-tools "$(dpkg --print-architecture)" sid
		apt_bare sid-tools
		apt_get sid-tools update
		unpack_root "$root" sid-tools dt-schema device-tree-compiler dash coreutils
		touch "$root/complete"
	}
	rm -rf "$root/work"
	mkdir -p "$root/work"
	cp -R "$TOP/Documentation/devicetree/bindings" "$root/work"
	cat >"$root/work/check" <<-'END'
		set -eu
		cd /work
		dt-doc-validate -u bindings bindings/*/*.yaml
		dt-mk-schema -j bindings >schema.json
		for f in bindings/*/*.yaml; do
			dt-extract-example "$f" >example.dts
			dtc -q -I dts -O dtb -o example.dtb example.dts
			dt-validate -s schema.json example.dtb
		done
	END
	cat >"$root/work/planted" <<-'END'
		cd /work
		dtc -q -I dts -O dtb -o planted.dtb planted.dts
		dt-validate -s schema.json planted.dtb
	END
	# They say what is wrong, and exit with 0
	for s in check planted; do
		in_root "$root" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
			sh "/work/$s" >"$LOGS/gates/bindings.$s" 2>&1 || {
			cat "$LOGS/gates/bindings.$s"
			return 1
		}
		grep -v no-map "$root/work/example.dts" >"$root/work/planted.dts"
	done
	grep -q "'no-map' is a required property" "$LOGS/gates/bindings.planted" || {
		echo "dt-validate does not see a planted error"
		return 1
	}
	cat "$LOGS/gates/bindings.check"
	[ ! -s "$LOGS/gates/bindings.check" ]
}

# The C in our documents is in a file that is compiled, line by line
quoted_in() {
	awk -v block="$1" '
		BEGIN {
			while ((getline line < block) > 0)
				want = want line "\n"
			if (want == "")
				exit 1
		}
		{ text = text $0 "\n" }
		END { exit want == "" || index("\n" text, "\n" want) == 0 }' "$2"
}
quotations() {
	q=$LOGS/gates/quoted
	echo "not in any file" >"$q"
	! quoted_in "$q" "$RIG/gates.sh" || {
		echo "a planted line is found"
		return 1
	}
	r=0
	for doc in "$TOP"/Documentation/*.rst; do
		rm -f "$q".*
		awk -v to="$q." '
			/^\.\. code-block:: c$/ { n++; p = 1; next }
			p && /^[^\t]/ { p = 0 }
			p && (!/^$/ || started[n]) {
				started[n] = 1
				sub(/^\t/, "")
				held = held $0 "\n"
				if ($0 != "") {
					printf "%s", held >(to n)
					held = ""
				}
			}
			!p { held = "" }' "$doc"
		for block in "$q".*; do
			[ -f "$block" ] || continue
			found=
			for c in $(c_files); do
				! quoted_in "$block" "$c" || found=$c
			done
			[ -n "$found" ] || {
				echo "$doc: no file of ours has: $(head -n 1 "$block")"
				r=1
			}
		done
	done
	return $r
}

wanted=$*
scripts=$(hash_of "$RIG/gates.sh" "$RIG/tree.sh" "$RIG/export.sh")
config=$(hash_of "$TOP/arch-arm64/configs/base.config" \
	"$TOP/arch-arm64/configs/series.config")
module=$(hash_of "$TOP/drivers" "$TOP/arch-arm64" "$TOP/include")
files=$(hash_of "$TOP/selftests" "$TOP/.ci")$module

gate applies "$inputs $scripts" series_applies
"$RIG/tree.sh" apply >/dev/null 2>&1 || exit 0 # which is what "applies" said
if [ "$nr" -gt 0 ]; then
	gate roundtrip "$inputs $scripts" roundtrip
	gate checkpatch "$inputs $scripts $(hash_of "$RIG/checkpatch.allowed")" checkpatch_patches
	gate kernel-doc "$inputs $scripts" kernel_doc
fi
gate shellcheck "$files $scripts" shellcheck_ours
gate checkpatch-files "$files $scripts" checkpatch_ours
gate bindings "$scripts $(hash_of "$TOP/Documentation/devicetree")" bindings
gate quotations "$files $scripts $(hash_of "$TOP/Documentation")" quotations
gate bisect "$inputs $config $(hash_of "$TOP/selftests/modules" "$RIG/build.sh")" bisect
gate module "$inputs $config $module $scripts $(hash_of "$RIG/sparse.sh")" module_builds
if [ "$nr" -gt 0 ]; then
	gate compiled "$inputs $config $scripts" compiled
	gate W1 "$inputs $config $scripts $(hash_of "$RIG/sparse.sh")" w1
	gate x86 "$inputs $scripts $(hash_of "$RIG/x86.config")" x86
	gate sparse "$inputs $config $scripts $(hash_of "$RIG/sparse.sh")" sparse
fi

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: Documentation/lava
#
# The jobs and the test definition for LAVA, by LAVA's own schemas, and what the
# definition does on a board: its steps are run as LAVA runs them, with LAVA's own
# lava-test-case and a tarball whose ./run prints results of each kind. No job is
# submitted anywhere, and no device booted.

. "$(dirname "$0")/../gate.sh"
. "$RIG/apt.sh"

root=$CACHE/lava
lava=$TOP/Documentation/lava
[ -f "$root/complete" ] || {
	apt_root sid-tools "$(dpkg --print-architecture)" sid
	apt_bare sid-tools
	apt_get sid-tools update
	unpack_root "$root" sid-tools lava-common python3-jinja2 dash coreutils tar
	# For what it puts onto a board; the rest of it wants much that is not needed here
	(cd "$root/tmp" && apt_get sid-tools download lava-dispatcher)
	dpkg-deb -x "$root"/tmp/lava-dispatcher_*.deb "$root"
	touch "$root/complete"
}
in_lava() {
	in_root "$root" /usr/bin/env -i PATH="/work/bin:/usr/bin:/bin" LC_ALL=C.UTF-8 "$@"
}
rm -rf "$root/work"
mkdir -p "$root/work/bin" "$root/work/Documentation"
cp -R "$lava" "$root/work/Documentation/"
shellcheck "$lava"/*.sh

r=0
complain() {
	echo "$*"
	r=1
}

cat >"$root/work/definition" <<'END'
import sys, yaml
from lava_common.schemas.test.testdef import validate
try:
    d = yaml.safe_load(open(sys.argv[1]))
    validate(d)
except Exception as e:
    sys.exit(f"{sys.argv[1]}: {e}")
# As LAVA writes run.sh
for k, v in d["params"].items():
    print(f"{k}='{v}'")
print("set -e")
print("\n".join(d["run"]["steps"]))
END
cat >"$root/work/uses" <<'END'
import sys, yaml
params = yaml.safe_load(open(sys.argv[1]))["params"]
for job in sys.argv[2:]:
    for a in yaml.safe_load(open(job))["actions"]:
        for t in a.get("test", {}).get("definitions", []):
            if "/work/" + t["path"] != sys.argv[1]:
                print(f"{job}: there is no {t['path']}")
            for p in set(t["parameters"]) - set(params):
                print(f"{job}: {t['path']} has no parameter {p}")
END
job() { in_lava python3 /usr/share/lava-common/lava-schema.py job --strict "$@"; }
definition() { in_lava python3 /work/definition "$1"; }
dir=/work/Documentation/lava
jobs=
for j in "$lava"/kvm-*.yaml; do
	jobs="$jobs $dir/$(basename "$j")"
done
# shellcheck disable=SC2086	# names of ours
job $jobs >"$G/lava.jobs" 2>&1 || complain "$(cat "$G/lava.jobs")"
definition "$dir/memtype.yaml" >"$root/work/steps" || r=1
# shellcheck disable=SC2086
uses=$(in_lava python3 /work/uses "$dir/memtype.yaml" $jobs)
[ -z "$uses" ] || complain "$uses"

# planted FILE OUT WHAT: what no LAVA would take
sed '/^timeouts:/,/^metadata:/{/^metadata:/!d}' "$lava/kvm-arm64-memtype.yaml" >"$root/work/no-timeouts.yaml"
sed 's/minutes: 60/hours: 60/' "$lava/kvm-arm64-memtype.yaml" >"$root/work/long.yaml"
for p in no-timeouts long; do
	! job /work/$p.yaml >>"$G/lava.planted" 2>&1 || complain "a planted error is not seen: $p"
done
sed '/format:/d' "$lava/memtype.yaml" >"$root/work/no-format.yaml"
! definition /work/no-format.yaml >>"$G/lava.planted" 2>&1 || complain "a planted error is not seen: no-format"

# LAVA puts the interpreter into the first line
for f in "$root"/usr/lib/python3/dist-packages/lava_dispatcher/lava_test_shell/lava-*; do
	[ ! -f "$f" ] || { echo '#!/bin/sh' && cat "$f"; } >"$root/work/bin/$(basename "$f")"
done
# What the board has, and what it is given
cat >"$root/work/bin/wget" <<'END'
#!/bin/sh
[ "$1 $2" = "-q -O" ] && cp /work/board.tar "$3" && echo "fetched $4"
END
mkdir "$root/work/board"
cat >"$root/work/board/run" <<'END'
#!/bin/sh
echo "with: $*"
mkdir results
echo "the report" >results/report.txt
cat >results/ktap <<'KTAP'
TAP version 13
1..3
# timeout set to 45
# selftests: kvm: s2_policy
# TAP version 13
# 1..4
# ok 1 table.row
# not ok 2 a name (with blanks)
# ok 3 blocks # SKIP 64K pages
# ok 4 # SKIP no FEAT_S2FWB
# # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:2 error:0
not ok 1 selftests: kvm: s2_policy # exit=1
# selftests: vfio: vfio_types
ok 2 selftests: vfio: vfio_types # SKIP
KTAP
[ "$1" = BAR=0000:01:00.0:2 ] || exit 1
cat >>results/ktap <<'KTAP'
# selftests: carveout: carveout_heap
ok 3 selftests: carveout: carveout_heap
KTAP
END
chmod 755 "$root"/work/bin/* "$root"/work/board/*
tar -C "$root/work" -cf "$root/work/board.tar" board

sum=$(sha256sum <"$root/work/board.tar" | cut -d ' ' -f 1)
# signals BAR [SHA256]: what LAVA would read on the console
signals() {
	{
		sed "s/^BAR=.*/BAR='$1'/; s/^SHA256=.*/SHA256='${2-$sum}'/" "$root/work/steps"
		echo 'echo "this is the end"'
	} >"$root/work/run.sh"
	(cd "$root/work" && in_lava sh -c 'export LAVA_RESULT_DIR=/work/result && cd /work && . ./run.sh') \
		>"$G/lava.run" 2>&1 || return 1
	for s in "fetched http:" "the report" "this is the end"; do
		grep -q "^$s" "$G/lava.run" || return 1
	done
	sed -n 's/.*<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=\([^ ]*\) RESULT=\([a-z]*\)>.*/\1 \2/p' "$G/lava.run"
}
cat >"$G/lava.expected" <<'END'
kvm.s2_policy.table.row pass
kvm.s2_policy.a_name_with_blanks fail
kvm.s2_policy.blocks skip
kvm.s2_policy.no_FEAT_S2FWB skip
kvm.s2_policy fail
vfio.vfio_types skip
carveout.carveout_heap pass
ktap.complete pass
END
signals 0000:01:00.0:2 >"$G/lava.signals" || complain "$(tail -n 5 "$G/lava.run")"
diff -u "$G/lava.expected" "$G/lava.signals" || complain "LAVA would not have these results"
# One that stops early
signals '' >"$G/lava.signals" || complain "$(tail -n 5 "$G/lava.run")"
grep -qx 'ktap.complete fail' "$G/lava.signals" || complain "a run that stops early is complete"
# Another tarball than that which was meant
for s in '' "$(echo "$sum" | tr 0-9a-f 1-9a-f0)"; do
	! signals 0000:01:00.0:2 "$s" >"$G/lava.signals" || complain "a tarball is taken for SHA256=$s"
	grep -q 'not-the-tarball' "$G/lava.run" || complain "SHA256=$s: $(cat "$G/lava.run")"
	! grep -q '^with:' "$G/lava.run" || complain "SHA256=$s: ./run is run"
done
exit $r

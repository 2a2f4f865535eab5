#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# needs: nothing
# inputs: Documentation/devicetree
#
# The device-tree bindings and their examples, by the tools of devicetree.org. Not
# every Debian has them, and those that have them lack schemas.

. "$(dirname "$0")/../gate.sh"
. "$RIG/apt.sh"

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
		sh "/work/$s" >"$G/bindings.$s" 2>&1 || {
		cat "$G/bindings.$s"
		exit 1
	}
	grep -v no-map "$root/work/example.dts" >"$root/work/planted.dts"
done
grep -q "'no-map' is a required property" "$G/bindings.planted" || {
	echo "dt-validate does not see a planted error"
	exit 1
}
cat "$G/bindings.check"
[ ! -s "$G/bindings.check" ]

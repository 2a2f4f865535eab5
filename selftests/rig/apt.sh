# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Sourced by the scripts that fetch Debian packages: an apt configuration of our
# own, so that packages of other suites and architectures can be fetched with
# signature checks and without a change to the system's configuration.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Where the system takes Debian from. --print-uris fetches nothing and needs no
# lists and no root. Another archive at a path of that name fails the signature
# check.
debian_mirror() {
	[ -z "${DEBIAN_MIRROR:-}" ] || {
		echo "${DEBIAN_MIRROR%/}"
		return
	}
	command -v apt-get >/dev/null ||
		die "apt-get is needed to fetch Debian packages"
	m=$(apt-get update --print-uris |
		sed -n "s|^'\(.*/debian\(/[0-9TZ]*\)\{0,1\}\)/dists/[^/]*/InRelease'.*|\1|p" |
		head -n 1)
	[ -n "$m" ] || die "no Debian archive in apt's configuration;" \
		"name one: DEBIAN_MIRROR=http://.../debian"
	echo "$m"
}

# apt_root NAME ARCH SUITE...: make a private root; apt_get NAME ... uses it.
apt_root() {
	r=$CACHE/apt/$1 arch=$2
	shift 2
	[ -f "$KEYRING" ] || die "$KEYRING is missing:" \
		"install the package debian-archive-keyring"
	mkdir -p "$r/lists/partial" "$r/archives/partial"
	mirror=$(debian_mirror)
	for suite in "$@"; do
		echo "deb [signed-by=$KEYRING arch=$arch] $mirror $suite main"
	done >"$r/sources.list"
	cat >"$r/apt.conf" <<-END
		Dir::State::lists "$r/lists";
		Dir::Cache::archives "$r/archives";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		Dir::Etc::sourcelist "$r/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		APT::Architecture "$arch";
		APT::Architectures { "$arch"; };
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::Retries "3";
	END
	# Packages of a foreign architecture are looked at, never installed.
	[ "$arch" = "$(dpkg --print-architecture)" ] || {
		: >"$r/status"
		echo "Dir::State::status \"$r/status\";" >>"$r/apt.conf"
	}
}

apt_get() {
	r=$CACHE/apt/$1
	shift
	APT_CONFIG=$r/apt.conf apt-get -qq "$@"
}

apt_version() {
	APT_CONFIG=$CACHE/apt/$1/apt.conf apt-cache policy "$2" |
		awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}

# unpack_arm64 DIRECTORY PACKAGE...: the files of arm64 packages of this system's
# suite, not installed
unpack_arm64() {
	d=$1
	shift
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
	apt_root "$suite-arm64" arm64 "$suite"
	apt_get "$suite-arm64" update
	mkdir -p "$CACHE/dl" "$d"
	for p in "$@"; do
		(cd "$CACHE/dl" && rm -f "${p}"_*_arm64.deb &&
			apt_get "$suite-arm64" download "$p")
		dpkg-deb -x "$CACHE/dl/${p}"_*_arm64.deb "$d"
	done
}

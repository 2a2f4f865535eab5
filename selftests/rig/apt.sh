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
	name=$1 r=$CACHE/apt/$1 arch=$2
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
	[ "$arch" = "$(dpkg --print-architecture)" ] || apt_bare "$name"
}

# apt_source_root NAME SUITE...: the same for source packages
apt_source_root() {
	as_name=$1
	shift
	apt_root "$as_name" "$(dpkg --print-architecture)" "$@"
	sed -i 's/^deb /deb-src /' "$r/sources.list"
}

apt_get() {
	r=$CACHE/apt/$1
	shift
	# By itself it fails where another one updates the same lists
	APT_CONFIG=$r/apt.conf flock "$r/lock" apt-get -qq "$@"
}

apt_version() {
	APT_CONFIG=$CACHE/apt/$1/apt.conf apt-cache policy "$2" |
		awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'
}

# unpack_arm64 DIRECTORY PACKAGE...: the files of arm64 packages of this system's
# suite, not installed; DIRECTORY/complete once it has all of them
unpack_arm64() {
	d=$1
	shift
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
	apt_root "$suite-arm64" arm64 "$suite"
	apt_get "$suite-arm64" update
	mkdir -p "$CACHE/dl" "$d"
	rm -f "$d/complete"
	for p in "$@"; do
		(cd "$CACHE/dl" && rm -f "${p}"_*.deb &&
			apt_get "$suite-arm64" download "$p")
		dpkg-deb -x "$CACHE/dl/${p}"_*.deb "$d"
	done
	touch "$d/complete"
}

# apt_bare NAME: nothing is installed there, whatever this system has
apt_bare() {
	: >"$CACHE/apt/$1/status"
	echo "Dir::State::status \"$CACHE/apt/$1/status\";" >>"$CACHE/apt/$1/apt.conf"
}

# unpack_root ROOT NAME PACKAGE...: the files of packages and of all that they
# depend on, not installed, for in_root
unpack_root() {
	root=$1 name=$2
	shift 2
	rm -rf "$root"
	mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" \
		"$root/dev" "$root/tmp" "$root/debs"
	for l in bin sbin lib lib64; do
		ln -s "usr/$l" "$root/$l"
	done
	packages=$(apt_get "$name" install -s --no-install-recommends "$@" |
		awk '$1 == "Inst" { sub(/:.*/, "", $2); print $2 "=" substr($3, 2) }')
	# shellcheck disable=SC2086	# a list
	(cd "$root/debs" && apt_get "$name" download $packages)
	for p in "$root"/debs/*.deb; do
		dpkg-deb -x "$p" "$root"
	done
	rm -rf "$root/debs"
}

# in_root ROOT COMMAND...: without being root where namespaces are to be had
in_root() {
	touch "$1/dev/null"
	if unshare -rm true 2>/dev/null; then
		# shellcheck disable=SC2016	# for the inner shell
		unshare -rm sh -c 'mount --bind /dev/null "$1/dev/null" && r=$1 && shift &&
			exec chroot "$r" "$@"' sh "$@"
	elif [ "$(id -u)" = 0 ]; then
		[ -c "$1/dev/null" ] || {
			rm -f "$1/dev/null"
			mknod -m 666 "$1/dev/null" c 1 3
		}
		chroot "$@"
	else
		echo "neither root nor user namespaces: cannot use the tools in $1" >&2
		return 1
	fi
}

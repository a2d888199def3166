# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Sourced by the scripts of this folder: where things are, and how to speak.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Build folders are $BUILD_ROOT/build and $BUILD_ROOT/build-KIND.
BUILD_ROOT=${GP_BUILD_ROOT:-$ROOT}
JOBS=${GP_JOBS:-$(nproc)}
# The distribution's own tools: another python3 or meson earlier on PATH sees no Debian module.
PYTHON=/usr/bin/python3
MESON=/usr/bin/meson
export ROOT BUILD_ROOT JOBS PYTHON MESON

say() {
	printf '%s: %s\n' "${0##*/}" "$*"
}

warn() {
	printf '%s: warning: %s\n' "${0##*/}" "$*" >&2
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" -eq 0 ] || die "must run as root ($1); try: sudo $0"
}

# build_dir KIND: release is ./build, others ./build-KIND.
build_dir() {
	case $1 in
	release) echo "$BUILD_ROOT/build" ;;
	*) echo "$BUILD_ROOT/build-$1" ;;
	esac
}

# programs_need: installs what is missing and builds, unless GP_BUILD names a folder with the programs.
programs_need() {
	[ -z "${GP_BUILD:-}" ] || return 0
	"$ROOT/scripts/setup"
	say "building"
	"$ROOT/scripts/build"
}

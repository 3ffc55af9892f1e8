# The parts that scripts/package-*.sh have in common: their options, the program, one time for all files. It is sourced.
#
#   --profile dist|release   how the program is built; dist takes the recorded profile (scripts/dist.sh)
#   --binary FILE            takes this program, and builds none
#   --output FOLDER          where the package goes; target/packages unless told
#
# The same commit and program give the same bytes: all times are SOURCE_DATE_EPOCH, by default that of the last commit.
# shellcheck shell=bash disable=SC2034 # the scripts use what is set here
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022
export LC_ALL=C TZ=UTC
profile=dist
binary=
output=target/packages
linking=dynamic

fail() { echo "${0##*/}: $1" >&2; exit "${2:-1}"; }

needs() { # needs PROGRAM...
    local program
    for program; do
        command -v "$program" >/dev/null || fail "$program is not installed" 2
    done
}

# option NAME VALUE: takes an option that all scripts have. It fails for any other.
option() {
    case $1 in
    -h | --help)
        sed -n '2,${/^# shellcheck/q;s/^# \{0,1\}//p}' "$0"
        sed -n '3,5s/^# \{0,1\}//p' scripts/packaging.sh
        exit 0
        ;;
    --profile | --binary | --output) [ -n "${2:-}" ] || fail "$1 has no value" 2 ;;
    *) fail "$1 is no option; --help names them" 2 ;;
    esac
    case $1:$2 in
    --profile:dist | --profile:release) profile=$2 ;;
    --profile:*) fail "--profile is dist or release, not $2" 2 ;;
    --binary:*) binary=$2 ;;
    --output:*) output=$2 ;;
    esac
}

# Paths of the machine that builds stay out of the program: messages of panics begin at the sources' own root. Libraries
# of a static program cannot look the C library's getrandom up by its name, and would then read a file of /dev.
rust_flags() {
    printf -- '--remap-path-prefix=%s=ringway ' "$PWD"
    printf -- '--remap-path-prefix=%s=cargo ' "${CARGO_HOME:-$HOME/.cargo}"
    [ "$linking" = dynamic ] || printf -- '-Ctarget-feature=+crt-static --cfg=getrandom_backend="linux_getrandom" '
    printf '%s' "${RUSTFLAGS:-}"
}

# Builds the program, unless one was named, and leaves its path in $binary. Static programs have a folder of their own,
# as the libraries differ.
program() {
    local host target
    if [ -z "$binary" ]; then
        target=${CARGO_TARGET_DIR:-$PWD/target}
        [ "$linking" = dynamic ] || target+=/static
        if [ "$profile" = dist ]; then
            binary=$(CARGO_TARGET_DIR=$target RUSTFLAGS=$(rust_flags) scripts/dist.sh)
        else
            host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
            CARGO_TARGET_DIR=$target RUSTFLAGS=$(rust_flags) \
                "${CARGO:-cargo}" build --locked --profile "$profile" --bin ringway --target "$host"
            binary=$target/$host/$profile/ringway
        fi
    fi
    [ -x "$binary" ] || fail "$binary is not a program" 2
}

is_static() { ! readelf --program-headers "$binary" | grep -q ' INTERP '; }

# The machine that a program is for, in the words of Debian and OCI.
architecture() {
    case $(readelf --file-header "$binary" | sed -n 's/^ *Machine: *//p') in
    *X86-64*) echo amd64 ;;
    *AArch64*) echo arm64 ;;
    *) fail "$binary is for a machine that has no package" ;;
    esac
}

# The version of Cargo.toml where its tag is checked out. Any other commit is on the way to it.
version() {
    local released
    released=$(sed -n '0,/^version = /s/^version = "\(.*\)"/\1/p' Cargo.toml)
    if [ -z "${RINGWAY_COMMIT:-}" ] && git describe --exact-match --match "v$released" HEAD >/dev/null 2>&1; then
        echo "$released"
    else
        echo "$released~$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y%m%d).${RINGWAY_COMMIT:-$(git rev-parse --short=8 HEAD)}"
    fi
}

# archive FOLDER: all that is in it, as a tar whose bytes depend on names, modes and contents alone.
archive() {
    tar --create --directory "$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --format=ustar "${@:2}" .
}

# texts FOLDER: what the program says of itself: the manual, and what shells complete.
texts() {
    mkdir -p "$1"
    "$binary" man >"$1/ringway.1"
    local shell
    for shell in bash zsh fish; do "$binary" completions "$shell" >"$1/ringway.$shell"; done
}

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || fail "no git checkout: set SOURCE_DATE_EPOCH and RINGWAY_COMMIT" 2
    export SOURCE_DATE_EPOCH
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

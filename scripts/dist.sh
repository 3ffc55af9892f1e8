#!/usr/bin/env bash
# Builds the program that is shipped: the dist profile, laid out by the recorded profile of calls. Prints where it is.
#
#   scripts/dist.sh [CARGO OPTIONS]
#
# The recorded profile (build/pgo/) fits one compiler and one set of dependencies. With any other this fails; `cargo build
# --profile dist` needs none.
set -euo pipefail
pgo=$(cd "$(dirname "$0")/../build/pgo" && pwd)
cd "$pgo/../.."

compiler=$("${RUSTC:-rustc}" -vV)
if [ "$compiler" != "$(cat "$pgo/compiler.txt")" ]; then
    release=$(sed -n 's/^release: //p' "$pgo/compiler.txt")
    {
        echo "dist: the profile was recorded with $(head -n 1 "$pgo/compiler.txt"), and this is $(head -n 1 <<<"$compiler")"
        echo "dist: RUSTUP_TOOLCHAIN=$release scripts/dist.sh takes that compiler; build/pgo/record.sh records anew"
    } >&2
    exit 1
fi
dependencies=$("$pgo/dependencies.sh")
if ! changed=$(diff "$pgo/dependencies.txt" - <<<"$dependencies"); then
    {
        echo "dist: the profile was recorded with other dependencies, or other settings:"
        awk '/^[<>]/ && n++ < 10' <<<"$changed"
        echo "dist: build/pgo/record.sh records anew"
    } >&2
    exit 1
fi

# With --target the flags stay away from build scripts and procedural macros. What separates the flags is Cargo's own
# separator, so that a folder's name may have spaces.
host=$(sed -n 's/^host: //p' <<<"$compiler")
flags=$(printf '%s\x1f' "-Cprofile-use=$pgo/dist.profdata" -Cllvm-args=-no-pgo-warn-mismatch)
# shellcheck disable=SC2086 # flags of the user's are several words
[ -z "${RUSTFLAGS:-}" ] || flags+=$(printf '%s\x1f' $RUSTFLAGS)
CARGO_ENCODED_RUSTFLAGS=${flags%$'\x1f'} \
    "${CARGO:-cargo}" build --locked --profile dist --bin ringway --target "$host" "$@"
echo "${CARGO_TARGET_DIR:-$PWD/target}/$host/dist/ringway"

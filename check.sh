#!/usr/bin/env bash
# The one command: what a person runs before a commit, and all that CI runs.
#
#   ./check.sh         format, clippy, doc, tests, benches as tests, and cargo-deny where it is installed
#   ./check.sh fast    format, clippy of the library, its own tests and the house rules
#   ./check.sh deny    licences, bans, sources and advisories (asks the network for the advisories)
#   ./check.sh simulate N        plays N seeds, or FROM..TO, of the simulation: workers, clients, services
#   ./check.sh simulate seed N   plays one seed again
#   ./check.sh msrv    builds with the oldest Rust that Cargo.toml names, where it is installed
#   ./check.sh fuzz N  runs each fuzz target for N seconds (nightly Rust and cargo-fuzz)
#   ./check.sh loom    tries the atomics that workers share in every order (loom)
#   ./check.sh ab A B  the end-to-end bench of two revisions in turn: is B faster than A? See scripts/ab.sh
#
# Stops at the first step that fails, with its exit code.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

step() { # step NAME COMMAND...
    local name=$1 began=$SECONDS code=0
    shift
    printf '\n==> %s: %s\n' "$name" "$*"
    "$@" </dev/null || code=$?
    if [ "$code" -ne 0 ]; then
        printf '==> %s FAILED after %ss (exit %s)\n' "$name" "$((SECONDS - began))" "$code" >&2
        exit "$code"
    fi
    printf '==> %s ok, %ss\n' "$name" "$((SECONDS - began))"
}

has_benches() { compgen -G 'benches/*.rs' >/dev/null; }
has_deny() { cargo deny --version >/dev/null 2>&1; }

# Tests append to it what they skip, and why.
export RINGWAY_SKIPPED="$PWD/target/skipped.txt"

case "${1:-all}" in
all)
    mkdir -p target && rm -f "$RINGWAY_SKIPPED"
    # Half of the time of the tests over sockets is waiting.
    export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
    step fmt cargo fmt --check
    step clippy cargo clippy --locked --all-targets -- -D warnings
    step doc env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --document-private-items
    step test cargo test --locked
    if has_benches; then step benches cargo test --locked --benches; fi
    if has_deny; then
        # Not the advisories: a new one must not stop an unrelated change.
        step deny cargo deny --locked check licenses bans sources
    else
        printf '\n==> deny skipped: cargo-deny is not installed\n'
    fi
    ;;
fast)
    step fmt cargo fmt --check
    step clippy cargo clippy --locked --lib -- -D warnings
    step test cargo test --locked --lib --test tidy
    ;;
deny)
    if ! has_deny; then
        echo "cargo-deny is not installed: cargo install --locked cargo-deny" >&2
        exit 2
    fi
    step deny cargo deny --locked check licenses bans sources
    step advisories cargo deny --locked check advisories
    ;;
simulate)
    if [ "${2:-}" = seed ]; then export RINGWAY_SEED="${3:?which seed}"; else export RINGWAY_SEEDS="${2:?how many seeds}"; fi
    step simulate cargo test --locked --lib -- worker::simulation::play --nocapture
    ;;
msrv)
    oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! rustup run "$oldest" rustc --version >/dev/null 2>&1; then
        printf '==> msrv skipped: Rust %s is not installed (rustup toolchain install %s)\n' "$oldest" "$oldest"
        exit 0
    fi
    step msrv rustup run "$oldest" cargo check --locked --target-dir target/msrv
    ;;
fuzz)
    seconds=${2:?how many seconds for each target}
    if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
        echo "fuzzing needs nightly Rust and cargo-fuzz: rustup toolchain install nightly; cargo install --locked cargo-fuzz" >&2
        exit 2
    fi
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        # New inputs go to the first folder; those of the repository are where it begins.
        inputs=fuzz/inputs/$target
        [ -d "$inputs" ] || inputs=fuzz/inputs/http2
        mkdir -p "target/fuzz/$target"
        step "fuzz $target" cargo +nightly fuzz run "$target" "target/fuzz/$target" "$inputs" -- "-max_total_time=$seconds"
    done
    ;;
loom)
    step loom cargo test --locked --manifest-path loom/Cargo.toml --target-dir target/loom --release
    ;;
ab)
    shift
    exec scripts/ab.sh "$@"
    ;;
*)
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
printf '\nall passed in %ss\n' "$SECONDS"
if [ "${1:-all}" = all ] && [ -s "$RINGWAY_SKIPPED" ]; then
    printf 'not everything was tried here:\n'
    sort -u "$RINGWAY_SKIPPED"
fi

#!/usr/bin/env bash
# Measures everything and writes REPORT.md: the eleven rows, the eight promises, the parts, a call end to end, and the
# peers if the tools that measure them are there. About ten minutes, on a machine that does nothing else.
#
#   scripts/report.sh [FILE]               FILE: REPORT.md by default
#   PEERS=FILE scripts/report.sh           a table of peers in Markdown that there is already
#   PEERS_OPTIONS=... scripts/report.sh    options of benches/peers/run.py; benches/peers/setup.sh sets up what it measures
#
# What fails is said to be not measured; the rest is measured all the same.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=${1:-REPORT.md}
target=${CARGO_TARGET_DIR:-$PWD/target}
results=$target/ringway
mkdir -p "$results"
rm -f "$results"/*.json "$results/peers.md" "$target/criterion/report.json" "$target/criterion/parts.json"

# The program that is shipped, or the nearest to it that this compiler can make.
ringway=$(scripts/dist.sh) || {
    cargo build --locked --profile dist --bin ringway || exit 1
    ringway=$target/dist/ringway
}
# What misses its bound, or fails, belongs into the report, so it does not stop it.
try() {
    "$@" || echo "report: failed with $?: $*" >&2
}
try cargo bench --locked --bench report
try cargo bench --locked --bench parts
try cargo bench --locked --bench gateway -- --json >"$results/gateway.json"
try "$ringway" verify --json >"$results/verify.json"

peers=${PEERS:-}
if [ -z "$peers" ] && [ -x "${XDG_CACHE_HOME:-$HOME/.cache}/ringway-peers/bin/h2load" ]; then
    # shellcheck disable=SC2086 # options are several words
    try benches/peers/run.py --ringway "$ringway" ${PEERS_OPTIONS:-} --markdown "$results/peers.md" >&2
    peers=$results/peers.md
fi

arguments=(--commit "$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)"
    --toolchain "$(rustc --version 2>/dev/null || echo unknown)" --out "$out")
have() { # have OPTION FILE: passes it on if there is something in it
    if [ -s "$2" ]; then arguments+=("$1" "$2"); fi
}
have --rows "$target/criterion/report.json"
have --parts "$target/criterion/parts.json"
have --verify "$results/verify.json"
have --gateway "$results/gateway.json"
if [ -n "$peers" ]; then have --peers "$peers"; fi
exec "$ringway" report "${arguments[@]}"

#!/usr/bin/env bash
# Measures everything and writes REPORT.md: the eleven rows, the eight promises, a call end to end. About ten minutes,
# on a machine that does nothing else.
#
#   ./report.sh                   all of it
#   PEERS=FILE ./report.sh        and a table of peers, in Markdown
#   MEASURE=COMMAND ./report.sh   and the table that this command prints, which measures peers beside target/release/ringway
set -euo pipefail
cd "$(dirname "$0")"
results=${CARGO_TARGET_DIR:-target}/ringway
mkdir -p "$results"

cargo build --locked --release
cargo bench --locked --bench report
cargo bench --locked --bench gateway -- --json >"$results/gateway.json"
# A FAIL belongs into the report, so it does not stop it.
"${CARGO_TARGET_DIR:-target}/release/ringway" verify --json >"$results/verify.json" || true
peers=${PEERS:-}
if [ -n "${MEASURE:-}" ]; then
    peers=$results/peers.md
    $MEASURE >"$peers"
fi
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
"${CARGO_TARGET_DIR:-target}/release/ringway" report --commit "$commit" \
    --rows "${CARGO_TARGET_DIR:-target}/criterion/report.json" --verify "$results/verify.json" \
    --gateway "$results/gateway.json" ${peers:+--peers "$peers"} --out REPORT.md

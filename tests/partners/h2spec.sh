#!/usr/bin/env bash
# Runs h2spec, strict, against a gateway on io_uring and on epoll. Needs Go, for `go install`.
#
#   tests/partners/h2spec.sh [RINGWAY]      the program to ask; target/release/ringway if none is named
#
# One test is expected to fail: 3.5/2 wants the connection to end where the port answers HTTP/1.1.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v2.2.1+incompatible
expected='Sends invalid connection preface'
ringway=${1:-target/release/ringway}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners
[ -x "$ringway" ] || { echo "h2spec: $ringway is not there: cargo build --release" >&2; exit 2; }
command -v go >/dev/null || { echo "h2spec: Go is not installed" >&2; exit 2; }
[ -x "$cache/bin/h2spec" ] || GOBIN="$cache/bin" go install "github.com/summerwind/h2spec/cmd/h2spec@$version"

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

. tests/partners/stage.sh

part services
demo=$(said config)
code=0
printf '%-10s %6s %6s %8s  %s\n' back-end tests passed seconds unexpected
for backend in io_uring epoll; do
    part gateway "$(printf 'workers = 1\n%s\n[io]\nbackend = "%s"\n' "$demo" "$backend")"
    listener=$(said listener)
    # A path with methods of its own for GET and POST: an error told before the body has come would hide what is wrong
    # with the body.
    "$cache/bin/h2spec" --strict --host "${listener%:*}" --port "${listener##*:}" --path /v1/employees --timeout 2 \
        >"$scratch/told" 2>&1 || true
    exec {input}>&-
    wait %%
    rm -f "$scratch"/gateway.*
    summary=$(grep -E '^[0-9]+ tests, ' "$scratch/told" | tail -n 1) || { cat "$scratch/told" >&2; exit 1; }
    unexpected=$(sed -n '/^Failures/,$p' "$scratch/told" | grep -E '× [0-9]+:' | grep -cvF "$expected" || true)
    printf '%-10s %6s %6s %8s  %s\n' "$backend" "$(awk '{print $1}' <<<"$summary")" "$(awk '{print $3}' <<<"$summary")" \
        "$(sed -n 's/^Finished in \([0-9.]*\) .*/\1/p' "$scratch/told" | tail -n 1)" "$unexpected"
    [ "$unexpected" = 0 ] || { sed -n '/^Failures/,$p' "$scratch/told" >&2; code=1; }
done
exit $code

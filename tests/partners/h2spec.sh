#!/usr/bin/env bash
# Runs h2spec, strict, against a gateway on io_uring and on epoll, in plaintext and over TLS. Needs Go, for `go install`,
# and openssl.
#
#   tests/partners/h2spec.sh [RINGWAY]      the program to ask; target/release/ringway if none is named
#
# One test is expected to fail in plaintext: 3.5/2 wants the connection to end where the port answers HTTP/1.1. Over TLS
# ALPN has chosen HTTP/2, and it passes.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v2.2.1+incompatible
expected='Sends invalid connection preface'
ringway=${1:-target/release/ringway}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners
[ -x "$ringway" ] || { echo "h2spec: $ringway is not there: cargo build --release" >&2; exit 2; }
for tool in go openssl; do
    command -v $tool >/dev/null || { echo "h2spec: $tool is not installed" >&2; exit 2; }
done
[ -x "$cache/bin/h2spec" ] || GOBIN="$cache/bin" go install "github.com/summerwind/h2spec/cmd/h2spec@$version"

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

. tests/partners/stage.sh

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$scratch/key.pem" -out "$scratch/crt.pem" \
    -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
tls="[[listeners.tls.tls_certificates]]
certificate_chain = \"$scratch/crt.pem\"
private_key = \"$scratch/key.pem\""

part services
demo=$(said config)
code=0
printf '%-10s %-10s %6s %6s %8s  %s\n' back-end over tests passed seconds unexpected
for backend in io_uring epoll; do
    for over in plaintext tls; do
        config=$demo options=
        if [ $over = tls ]; then
            config=$(awk -v tls="$tls" \
                '{ print } /^\[\[listeners\]\]/ { here = 1 } /^address = / && here { print tls; here = 0 }' <<<"$demo")
            options='-t -k'
        fi
        part gateway "$(printf 'workers = 1\n%s\n[io]\nbackend = "%s"\n' "$config" "$backend")"
        listener=$(said listener)
        # A path with methods of its own for GET and POST: an error told before the body has come would hide what is
        # wrong with the body.
        # shellcheck disable=SC2086
        "$cache/bin/h2spec" --strict $options --host "${listener%:*}" --port "${listener##*:}" --path /v1/employees \
            --timeout 2 >"$scratch/told" 2>&1 || true
        exec {input}>&-
        wait %%
        rm -f "$scratch"/gateway.*
        summary=$(grep -E '^[0-9]+ tests, ' "$scratch/told" | tail -n 1) || { cat "$scratch/told" >&2; exit 1; }
        unexpected=$(sed -n '/^Failures/,$p' "$scratch/told" | grep -E '× [0-9]+:' | grep -cvF "$expected" || true)
        printf '%-10s %-10s %6s %6s %8s  %s\n' "$backend" $over "$(awk '{print $1}' <<<"$summary")" \
            "$(awk '{print $3}' <<<"$summary")" \
            "$(sed -n 's/^Finished in \([0-9.]*\) .*/\1/p' "$scratch/told" | tail -n 1)" "$unexpected"
        [ "$unexpected" = 0 ] || { sed -n '/^Failures/,$p' "$scratch/told" >&2; code=1; }
    done
done
exit $code

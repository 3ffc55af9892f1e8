#!/usr/bin/env bash
# A rude client beside a polite one, before services on tonic, grpc-go and grpcio: how far it raises the other's p99.
#
#   tests/partners/rude.sh [RINGWAY]     the program to ask; target/release/ringway if none is named
#   PAIRS=9 SECONDS_EACH=4 RATE=500      the defaults; about 6 minutes
#
# Two gateways stand before each service. The rude client always runs: before the other gateway for a calm figure, before
# the same one for a shared figure. So both figures have the same load on the machine and on the service, and differ by
# what is shared in a gateway. Needs python3 and Go; the libraries come from their package indexes into the cache folder.
# Exit code 0 if the median of the pairs rises by at most 20 %, or by no more than two calm figures differ, and if no
# connection of the rude client was ended; else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
ringway=${1:-target/release/ringway}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners/rude
missing() { echo "rude: $1" >&2; exit 2; }
[ -x "$ringway" ] || missing "$ringway is not there: cargo build --release"
for tool in python3 go; do
    command -v $tool >/dev/null || missing "$tool is not installed"
done
mkdir -p "$cache/go"
if [ ! -x "$cache/python/bin/python" ]; then
    python3 -m venv "$cache/python"
    "$cache/python/bin/pip" install --quiet 'grpcio>=1.70'
fi
if ! cmp -s tests/partners/rude/service.go "$cache/go/main.go" || [ ! -x "$cache/go/service" ]; then
    cp tests/partners/rude/service.go "$cache/go/main.go"
    (cd "$cache/go" && { [ -f go.mod ] || go mod init service; } && go get google.golang.org/grpc@v1.76.0 &&
        go build -o service .) >"$cache/go/log" 2>&1 || { cat "$cache/go/log" >&2; missing "grpc-go cannot be had"; }
fi

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT
. tests/partners/stage.sh
part services
demo=$(said config)
tonic=$(sed -n '/name = "employee"/,$s/^endpoints = \["\([^"]*\)".*/\1/p' <<<"$demo" | head -n 1)

started() { # started NAME COMMAND...: a service that says its address; in $address
    mkfifo "$scratch/$1"
    "${@:2}" >"$scratch/$1" &
    IFS= read -r address <"$scratch/$1"
}
started go "$cache/go/service"
go=$address
started python "$cache/python/bin/python" tests/partners/rude/service.py
python=$address

python3 tests/partners/rude/pairs.py "$ringway" "tonic $tonic" "grpc-go $go" "grpcio $python"

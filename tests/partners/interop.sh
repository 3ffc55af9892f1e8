#!/usr/bin/env bash
# Runs gRPC's interoperability cases with grpcio at both ends: directly, and through a gateway on io_uring and on epoll.
# Needs Python with venv; grpcio comes from the package index.
#
#   tests/partners/interop.sh [RINGWAY]      the program to ask; target/release/ringway if none is named
set -euo pipefail
cd "$(dirname "$0")/../.."
ringway=${1:-target/release/ringway}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners
[ -x "$ringway" ] || { echo "interop: $ringway is not there: cargo build --release" >&2; exit 2; }
if [ ! -x "$cache/interop/bin/python" ]; then
    python3 -m venv "$cache/interop"
    "$cache/interop/bin/pip" install --quiet 'grpcio>=1.70' 'grpcio-tools>=1.70'
fi
python=$cache/interop/bin/python

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT
# Beside the package `grpc` itself, of which `grpc.testing` is to be a part.
"$python" -m grpc_tools.protoc -I proto --python_out="$scratch" --grpc_python_out="$scratch" proto/grpc/testing/*.proto
cat >"$scratch/interop.py" - tests/partners/interop.py <<'PY'
import os
import grpc
grpc.__path__.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "grpc"))
PY

port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
service=127.0.0.1:$(port)
mkfifo "$scratch/hold" "$scratch/told"
"$python" "$scratch/interop.py" serve "$service" <"$scratch/hold" >"$scratch/told" &
exec {hold}>"$scratch/hold"
IFS= read -r _ <"$scratch/told"

code=0
ask() { # ask NAME ADDRESS
    local told
    told=$("$python" "$scratch/interop.py" call "$2") || code=1
    printf '%-10s %s\n' "$1" "$told"
}
printf '%-10s %s\n' way passed
ask direct "$service"
for backend in io_uring epoll; do
    front=127.0.0.1:$(port)
    cat >"$scratch/$backend.toml" <<TOML
workers = 1
[io]
backend = "$backend"
[[listeners]]
address = "$front"
[[routes]]
cluster = "interop"
[[clusters]]
name = "interop"
endpoints = ["$service"]
TOML
    "$ringway" run "$scratch/$backend.toml" 2>"$scratch/$backend.log" &
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/${front%:*}/${front##*:}") 2>/dev/null; then break; fi
        sleep 0.1
    done
    ask "$backend" "$front"
    kill %% && wait %% || true
done
exit $code

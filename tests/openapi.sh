#!/usr/bin/env bash
# Checks what /openapi.json says, of the demo services and of the test services, with a public validator:
#
#   python3 -m venv target/validator && target/validator/bin/pip install openapi-spec-validator
#   VALIDATOR=target/validator/bin/openapi-spec-validator tests/openapi.sh [target/debug/ringway]
#
# Exit code 0 if every description is valid, 2 if there is no validator.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/debug/ringway}
validator=${VALIDATOR:-openapi-spec-validator}
command -v "$validator" >/dev/null || { echo "no $validator: pip install openapi-spec-validator" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for proto in proto/ringway/demo/*/v1/*.proto tests/protos/library.proto tests/protos/everything.proto; do
    name=$(basename "$proto" .proto)
    cat >"$scratch/$name.toml" <<TOML
[admin]
address = "127.0.0.1:0"
[[listeners]]
address = "127.0.0.1:0"
[transcoding]
protos = ["$PWD/$proto"]
proto_paths = ["$PWD/proto", "$PWD/tests/protos"]
[[routes]]
cluster = "nobody"
[[clusters]]
name = "nobody"
endpoints = ["127.0.0.1:1"]
TOML
    "$program" run --config "$scratch/$name.toml" 2>"$scratch/$name.log" &
    gateway=$!
    address=
    for _ in $(seq 100); do
        address=$(sed -n 's/.*admin=\([0-9.:]*\).*/\1/p' "$scratch/$name.log")
        [ -z "$address" ] || break
        kill -0 "$gateway" || { cat "$scratch/$name.log" >&2; exit 1; }
        sleep 0.1
    done
    curl -sSf "http://$address/openapi.json" >"$scratch/$name.json"
    kill -TERM "$gateway"
    wait "$gateway"
    "$validator" "$scratch/$name.json" >"$scratch/$name.said" || { cat "$scratch/$name.said" >&2; exit 1; }
    printf 'ok  %s: %s operations\n' "$name" "$(grep -o '"operationId"' "$scratch/$name.json" | wc -l)"
done

#!/usr/bin/env bash
# Runs grpc-gateway's own integration tests through Ringway, with compatibility = "grpc-gateway".
#
#   tests/partners/grpc_gateway.sh [RINGWAY]      RINGWAY: built from this tree
#
# The tests come with the Go module, into the cache folder. Needs Go; takes the ports 8088, 8089 and 9090. Tests that fail
# because Ringway does something else on purpose are named below; docs/CONFORMANCE.md says why, one by one.
# Exit code 0 if all others pass, 1 if one fails, 2 if something is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v2.33.0
# The last step of TestExcessBody waits for ever for a call that is refused, so it is not run.
skipped=(TestExcessBody)
differ=(TestABE TestAbitOfEverythingClient TestEcho TestEchoUnauthorized TestNotImplemented TestRequestQueryParams
    TestResponseBodyStreamHttpBody TestResponseBodyStreamHttpBodyError)
here=$PWD/tests/partners/grpc_gateway
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-grpc-gateway
examples=examples/internal/proto/examplepb

missing() { echo "missing: $1" >&2; exit 2; }

command -v go >/dev/null || missing "go, which has grpc-gateway as a module"
module=$cache/$version
if [ ! -x "$module/integration.test" ]; then
    mkdir -p "$cache"
    folder=$(cd "$cache" && go mod download -json "github.com/grpc-ecosystem/grpc-gateway/v2@$version" |
        sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') && [ -d "$folder" ] || missing "grpc-gateway $version"
    cp -r "$folder" "$module.new" && chmod -R u+w "$module.new"
    cp "$here/main_test.go" "$module.new/examples/internal/integration/"
    mkdir "$module.new/examples/internal/descriptors"
    cp "$here/descriptors.go" "$module.new/examples/internal/descriptors/main.go"
    (cd "$module.new" && go run ./examples/internal/descriptors examples.protoset &&
        go test -c -o integration.test ./examples/internal/integration) || missing "a build of its tests"
    mv "$module.new" "$module"
fi

program=${1:-}
if [ -z "$program" ]; then
    cargo build --quiet --locked
    program=target/debug/ringway
fi
scratch=$(mktemp -d)
trap 'kill "$gateway" 2>/dev/null || true; rm -rf "$scratch"' EXIT
package=grpc.gateway.examples.internal.proto.examplepb
services=$(for name in EchoService FlowCombination ExcessBodyService NonStandardService UnannotatedEchoService \
    ABitOfEverythingService StreamService ResponseBodyService; do printf '"%s.%s", ' "$package" "$name"; done)
cat >"$scratch/ringway.toml" <<TOML
[[listeners]]
address = "127.0.0.1:8088"
[admin]
address = "127.0.0.1:0"
[transcoding]
descriptor_sets = ["$module/examples.protoset"]
service_configs = ["$module/$examples/unannotated_echo_service.yaml", "$module/$examples/standalone_echo_service.yaml"]
services = [$services]
compatibility = "grpc-gateway"
[[routes]]
cluster = "services"
[[clusters]]
name = "services"
endpoints = ["127.0.0.1:9090"]
TOML
"$program" run --config "$scratch/ringway.toml" 2>"$scratch/log" &
gateway=$!
(cd "$module/examples/internal/integration" &&
    "$module/integration.test" -test.v -test.timeout 120s -test.skip "^($(IFS='|' && echo "${skipped[*]}"))\$") \
    >"$scratch/said" 2>&1 || true

code=0 passed=0 failed=0
while read -r result name; do
    if [ "$result" = PASS: ]; then
        passed=$((passed + 1))
    elif [[ " ${differ[*]} " == *" $name "* ]]; then
        failed=$((failed + 1))
    else
        code=1
        echo "failed: $name"
    fi
done < <(sed -n 's/^--- \([A-Z]*:\) \([A-Za-z0-9_]*\) .*/\1 \2/p' "$scratch/said")
[ $((passed + failed)) -gt 0 ] || { tail -n 20 "$scratch/said" "$scratch/log" >&2; missing "a result of the tests"; }
printf '%-28s %3d\n' passed "$passed" 'failed, as is explained' "$failed" 'not run, as is explained' "${#skipped[@]}"
[ $((passed + failed + ${#skipped[@]})) -eq 32 ] || { echo "not all of 32 tests have a result" >&2; code=1; }
exit "$code"

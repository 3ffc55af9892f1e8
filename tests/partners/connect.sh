#!/usr/bin/env bash
# connectrpc/conformance through Ringway: each case that a server passes by itself has to pass with a Ringway before it.
# The servers are the suite's own, of connect-go and of grpc-go.
#
#   tests/partners/connect.sh [RINGWAY] [OPTIONS...]
#
# RINGWAY is target/debug/ringway if none is named; options go to connectconformance, such as --run 'Errors/**'. The suite
# comes from the Go module proxy, in a version of its own, into ringway-conformance in the cache folder. Needs go and awk.
#
# Exit code 0 if Ringway causes no failure, 1 if it does, 2 if the suite cannot be run.
set -euo pipefail
version=v1.0.7
module=connectrpc.com/conformance
cd "$(dirname "$0")/../.."
ringway=target/debug/ringway
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    ringway=$1
    shift
fi
ringway=$(realpath "$ringway")

missing() { echo "$1" >&2; exit 2; }
command -v go >/dev/null || missing "Go is missing: the conformance suite is a Go program (https://go.dev/dl)"
[ -x "$ringway" ] || missing "no program at $ringway: cargo build --bin ringway, or name another one"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-conformance
mkdir -p "$cache"
bin=$cache/$version
for program in connectconformance referenceserver grpcserver; do
    [ -x "$bin/$program" ] || GOBIN=$bin go install "$module/cmd/$program@$version" ||
        missing "$program of the conformance suite cannot be installed"
done
go build -o "$bin/behind" tests/partners/connect/behind.go || missing "behind.go cannot be built"

protos=$(go env GOMODCACHE)/$module@$version/proto
transcoding="
[transcoding]
protos = [\"$protos/connectrpc/conformance/v1/service.proto\"]
proto_paths = [\"$protos\"]
"

# features PROTOCOLS CODECS COMPRESSIONS [secure]: what the server under test can do. Without TLS, HTTP/2 is known by its
# preface. With it, all cases run over TLS and again with certificates of clients, and no others.
features() {
    local secure=false
    if [ "${4-}" = secure ]; then
        secure=true
        printf 'exclude_cases:\n  - use_tls: false\n'
    fi
    cat <<YAML
features:
  versions: [HTTP_VERSION_1, HTTP_VERSION_2]
  protocols: [$1]
  codecs: [$2]
  compressions: [$3]
  supportsH2c: true
  supportsTls: $secure
  supportsTlsClientCerts: $secure
  supportsHalfDuplexBidiOverHttp1: true
YAML
}
grpc=PROTOCOL_GRPC web=PROTOCOL_GRPC_WEB proto=CODEC_PROTO
few="COMPRESSION_IDENTITY, COMPRESSION_GZIP"
many="$few, COMPRESSION_BR, COMPRESSION_ZSTD, COMPRESSION_DEFLATE, COMPRESSION_SNAPPY"
features $grpc $proto "$few" >"$cache/grpc.yaml"
features $web $proto "$few" >"$cache/web.yaml"
features "$grpc, $web" "$proto, CODEC_JSON" "$many" >"$cache/all.yaml"
features PROTOCOL_CONNECT "$proto, CODEC_JSON" "$many" >"$cache/connect.yaml"
cp "$cache/connect.yaml" "$cache/connect-json.yaml"
features "$grpc, $web" $proto "$few" secure >"$cache/tls.yaml"
features PROTOCOL_CONNECT "$proto, CODEC_JSON" "$few" secure >"$cache/tls-connect.yaml"
echo "  supportsConnectGet: false" >>"$cache/tls-connect.yaml"
echo "  supportsConnectGet: false" >>"$cache/connect.yaml"
echo "  supportsConnectGet: true" >>"$cache/connect-json.yaml"

# conformance NAME LOG OPTIONS... -- SERVER...: runs the cases of one configuration. They may fail, but have to be run.
conformance() {
    local name=$1 log=$2
    shift 2
    "$bin/connectconformance" --vv --mode server --conf "$cache/$name.yaml" "$@" >"$log" 2>&1 || true
    grep -q '^Total cases: [1-9]' "$log" || { cat "$log" >&2; missing "the suite did not run"; }
}

row='%-8s %-12s %-36s %6s %7s %16s %15s\n'

# table SERVER NAME ALONE THROUGH: a line for each suite, of what failed in the two logs. Exit code 1 if Ringway causes a
# failure.
table() {
    awk -v server="$1" -v name="$2" -v row="$row" '
        function suite(text) { sub(/\/.*/, "", text); return text }
        /^Sending request for "/ {
            split($0, quoted, "\"")
            if (FNR == NR) { cases[suite(quoted[2])]++ } else { sent[suite(quoted[2])]++ }
        }
        /^FAILED: / {
            case_name = substr($0, 9)
            sub(/:$/, "", case_name)
            if (FNR == NR) { alone[case_name] = 1; by_itself[suite(case_name)]++ }
            else if (case_name in alone) { both[suite(case_name)]++ }
            else { ours[suite(case_name)]++; worst = worst "\n  " case_name }
        }
        END {
            order = "sort"
            for (s in cases) {
                passed = sent[s] - ours[s] - both[s]
                printf row, server, name, s, cases[s], passed, by_itself[s] + 0, ours[s] + 0 | order
                all += cases[s]; good += passed; self += by_itself[s]; bad += ours[s]
                if (sent[s] != cases[s]) { uneven = uneven "\n  " s ": " sent[s] + 0 " of " cases[s] " cases" }
            }
            close(order)
            printf row "\n", server, name, "(all)", all, good, self + 0, bad + 0
            if (uneven != "") { print "cases that were not run through Ringway:" uneven "\n" }
            if (worst != "") { print "failures that Ringway causes:" worst "\n" }
            exit (bad > 0 || uneven != "")
        }' "$3" "$4"
}

echo "connectrpc/conformance $version, $("$ringway" --version | head -n 1), $(go env GOVERSION)"
# shellcheck disable=SC2059
printf "\n$row" server conf suite cases passed "failing without" "failing by it"
code=0
# The server of grpc-go knows neither JSON nor most of the compressions.
for pair in referenceserver:grpc referenceserver:web referenceserver:all referenceserver:connect referenceserver:connect-json referenceserver:tls referenceserver:tls-connect grpcserver:grpc grpcserver:web; do
    server=$bin/${pair%:*} name=${pair#*:} log=$cache/${pair/:/.}
    options=("$@")
    # A request of a type that nobody knows is answered as JSON of no protocol: see docs/CONFORMANCE.md.
    [ "$name" != connect-json ] || options+=(--skip 'Unexpected Requests/**/unexpected-content-type')
    conformance "$name" "$log.alone.log" "${options[@]}" -- "$server"
    # With descriptors, Ringway knows JSON by itself.
    descriptors=
    [ "$name" != connect-json ] || descriptors=$transcoding
    BEHIND_CONFIG=$descriptors conformance "$name" "$log.through.log" "${options[@]}" -- "$bin/behind" "$ringway" "$server"
    label=$([ "${pair%:*}" = grpcserver ] && echo grpc-go || echo connect)
    table "$label" "$name" "$log.alone.log" "$log.through.log" || code=1
done
[ "$code" = 0 ] || echo "what was wanted and what came: $cache/*.through.log" >&2
exit "$code"

#!/usr/bin/env bash
# Asks a gateway with TLS what others find: openssl and curl, and sslyze and grpcio from the package index of Python. On
# io_uring and on epoll.
#
#   tests/partners/tls.sh [RINGWAY]      the program to ask; target/release/ringway if none is named
#
# Where tshark is installed, it reads a capture of the loopback with the gateway's key log, which needs the right to capture.
# With TLSFUZZER, a checkout of tlsfuzzer, its scripts of tlsfuzzer.txt run, too; with TESTSSL, the path of testssl.sh, so
# does that. Without them it is said that they did not.
set -euo pipefail
cd "$(dirname "$0")/../.."
ringway=${1:-target/release/ringway}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners
[ -x "$ringway" ] || { echo "tls: $ringway is not there: cargo build --release" >&2; exit 2; }
for tool in openssl curl python3; do
    command -v $tool >/dev/null || { echo "tls: $tool is not installed" >&2; exit 2; }
done
if [ ! -x "$cache/tls/bin/sslyze" ]; then
    python3 -m venv "$cache/tls"
    "$cache/tls/bin/pip" install --quiet 'sslyze==6.3.1' 'grpcio>=1.70'
fi

if [ -n "${TLSFUZZER-}" ] && [ ! -x "$cache/tlsfuzzer/bin/python" ]; then
    python3 -m venv "$cache/tlsfuzzer"
    "$cache/tlsfuzzer/bin/pip" install --quiet --pre tlslite-ng==0.9.0b2
fi

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

. tests/partners/certificates.sh
. tests/partners/stage.sh
tls() { # tls REQUIRED: the tables of a listener, which may ask for certificates: true, false, or never
    local more=
    [ "$1" = never ] || more=$(printf 'key_log = "%s/keys.log"\nrequire_client_certificate = %s' "$scratch" "$1")
    printf '[listeners.tls]\n%s\n' "$more"
    for name in rsa ecdsa; do
        printf '[[listeners.tls.tls_certificates]]\ncertificate_chain = "%s"\nprivate_key = "%s"\n' \
            "$scratch/$name.crt" "$scratch/$name.key"
    done
    [ "$1" = never ] || printf '[listeners.tls.validation_context]\ntrusted_ca = "%s/ca.pem"\n' "$scratch"
}

failed=0
expect() { # expect WHAT PATTERN COMMAND...: its output has this line
    local what=$1 pattern=$2
    shift 2
    if ! timeout 60 "$@" </dev/null >"$scratch/told" 2>&1; then :; fi
    if grep -qE -- "$pattern" "$scratch/told"; then
        printf '  ok      %s\n' "$what"
    else
        printf '  FAILED  %s: no line like %s\n' "$what" "$pattern"
        tail -n 20 "$scratch/told" >&2
        failed=1
    fi
}
client() { openssl s_client -connect "$listener" -CAfile "$scratch/ca.pem" -servername api.example.org "$@"; }
request() { # request ARGUMENTS...: an answer over TLS, or what went wrong
    (printf 'GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'; sleep 1) | client -quiet -alpn http/1.1 "$@"
}
export -f client request

# The findings of testssl.sh that count. The certificates name no list of revoked ones, and fields such as a
# content-security-policy are a service's.
severe='
import json, sys
found = [it for it in json.load(open(sys.argv[1])) if it["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")]
known = ("cert_revocation", "security_headers")
print("\n".join(it["id"] + ": " + it["finding"] for it in found if not it["id"].startswith(known)) or "none")
'

# fuzz: each script of tlsfuzzer.txt. A conversation that fails has to be one that is listed there.
fuzz() {
    local script options listed name
    while IFS='|' read -r script listed; do
        case $script in '#'* | '') continue ;; esac
        read -r script options <<<"$script"
        # What may fail stands between the first bar and the last.
        listed=$(sed -E 's/^ *//; s/ *\|[^|]*$//' <<<"$listed")
        # shellcheck disable=SC2086
        (cd "$TLSFUZZER" && PYTHONPATH=. timeout 300 "$cache/tlsfuzzer/bin/python" "scripts/$script.py" \
            -h localhost -p "${listener##*:}" $options) </dev/null >"$scratch/fuzzed" 2>&1 || true
        grep -q '^TOTAL: [1-9]' "$scratch/fuzzed" || { echo "  FAILED  tlsfuzzer $script did not run"; failed=1; continue; }
        sed -n "/^FAILED:/,\$s/^\t'\(.*\)'$/\1/p" "$scratch/fuzzed" >"$scratch/names"
        if [ -n "$listed" ]; then
            grep -vE -- "$listed" "$scratch/names" >"$scratch/unlisted" || true
        else
            cp "$scratch/names" "$scratch/unlisted"
        fi
        name="tlsfuzzer $script: $(sed -n 's/^PASS: //p' "$scratch/fuzzed") pass, $(sort -u "$scratch/names" | wc -l) as listed"
        if [ -s "$scratch/unlisted" ]; then
            echo "  FAILED  $name; and: $(head -n 3 "$scratch/unlisted" | tr '\n' ';')"
            failed=1
        else
            echo "  ok      $name"
        fi
    done <tests/partners/tlsfuzzer.txt
}
export scratch

part services
demo=$(said config)
for backend in io_uring epoll; do
    for is_required in false true never; do
        echo "$backend, certificates of clients are required: $is_required"
        config=$(awk -v tls="$(tls $is_required)" \
            '{ print } /^\[\[listeners\]\]/ { here = 1 } /^address = / && here { print tls; here = 0 }' <<<"$demo")
        # Nobody but the configuration has keys written down.
        [ $is_required = never ] && export SSLKEYLOGFILE=$scratch/variable.log
        part gateway "$(printf 'workers = 2\n%s\n[io]\nbackend = "%s"\n' "$config" "$backend")"
        unset SSLKEYLOGFILE
        listener=$(said listener)
        export listener
        if [ $is_required = true ]; then
            own="-cert $scratch/client.crt -key $scratch/client.key"
            expect 'no certificate: an alert' 'alert certificate required' bash -c 'request -tls1_3'
            expect 'of another authority: an alert' 'alert unknown ca' \
                bash -c "request -cert $scratch/stranger.crt -key $scratch/stranger.key"
            expect 'the right certificate is served' '^HTTP/1.1 4' bash -c "request $own"
            expect 'by TLS 1.2, too' '^HTTP/1.1 4' bash -c "request -tls1_2 $own"
            expect 'no tickets' '^0$' bash -c "client $own | grep -c 'Post-Handshake New Session Ticket'"
            "$cache/tls/bin/python" tests/partners/tls_grpc.py "$listener" "$scratch" mutual >"$scratch/grpc" 2>&1 || true
            expect 'grpcio with its certificate' '^100 answers$' cat "$scratch/grpc"
            exec {input}>&-
            wait %% || true
            rm -f "$scratch"/gateway.*
            continue
        fi
        if [ $is_required = never ]; then
            expect 'without key_log' '^HTTP/1.1 4' bash -c request
            expect 'no keys by SSLKEYLOGFILE' '^none$' bash -c '[ -e "$scratch/variable.log" ] || echo none'
            if [ -n "${TLSFUZZER-}" ]; then fuzz; else echo '  not run: tlsfuzzer (TLSFUZZER names no checkout)'; fi
            if [ -n "${TESTSSL-}" ]; then
                "$TESTSSL" --quiet --color 0 --nodns none --warnings off --severity MEDIUM --openssl "$(command -v openssl)" \
                    --add-ca "$scratch/ca.pem" --jsonfile "$scratch/testssl.json" "$listener" </dev/null >"$scratch/testssl" 2>&1 || true
                expect 'testssl.sh: nothing of severity MEDIUM or above' '^none$' python3 -c "$severe" "$scratch/testssl.json"
                rm -f "$scratch/testssl.json"
            else
                echo '  not run: testssl.sh (TESTSSL names none)'
            fi
            exec {input}>&-
            wait %% || true
            rm -f "$scratch"/gateway.*
            continue
        fi
        expect 'the chain is trusted' 'Verify return code: 0 ' bash -c 'client "$@"' client
        expect 'ALPN h2' 'ALPN protocol: h2' bash -c 'client "$@"' client -alpn h2
        expect 'ALPN http/1.1' 'ALPN protocol: http/1.1' bash -c 'client "$@"' client -alpn http/1.1
        expect 'ALPN both' 'ALPN protocol: h2' bash -c 'client "$@"' client -alpn h2,http/1.1
        expect 'no ALPN' 'No ALPN negotiated' bash -c 'client "$@"' client
        expect 'another protocol: an alert' 'alert no application protocol|alert number 120' bash -c 'client "$@"' client -alpn foo
        expect 'TLS 1.3' 'New, TLSv1.3' bash -c 'client "$@"' client -tls1_3
        expect 'TLS 1.2' 'New, TLSv1.2' bash -c 'client "$@"' client -tls1_2
        expect 'TLS 1.1 is refused' 'Cipher is .NONE.' \
            bash -c 'client "$@"' client -tls1_1 -cipher 'DEFAULT@SECLEVEL=0'
        expect 'an ECDSA certificate' 'Server public key is 256 bit' bash -c 'client "$@"' client
        expect 'an RSA certificate' 'Server public key is 2048 bit' bash -c 'client "$@"' client -sigalgs RSA-PSS+SHA256:RSA+SHA256
        expect 'no renegotiation' 'no renegotiation|alert number 100|unexpected' \
            bash -c '(sleep 1; echo R; sleep 1) | client -tls1_2'
        expect 'sessions go on, TLS 1.2' '^Reused, TLSv1.2' bash -c 'client "$@"' client -tls1_2 -reconnect
        expect 'JSON by HTTP/2' '^HTTP/2 200' curl -sSi --http2 --cacert "$scratch/ca.pem" "https://$listener/v1/employees/1"
        expect 'JSON by HTTP/1.1' '^HTTP/1.1 200' \
            curl -sSi --http1.1 --cacert "$scratch/ca.pem" "https://$listener/v1/employees/1"
        expect 'plaintext is told' 'This port takes TLS' curl -sS "http://$listener/v1/employees/1"
        if command -v tshark >/dev/null; then
            tshark -q -i lo -f "tcp port ${listener##*:}" -w "$scratch/capture" 2>"$scratch/tshark" &
            capturing=$!
            for _ in $(seq 100); do
                if grep -q 'Capture started' "$scratch/tshark"; then break; fi
                sleep 0.1
            done
            for version in 2 3; do
                curl -sS --http2 --tlsv1.$version --tls-max 1.$version --cacert "$scratch/ca.pem" \
                    "https://$listener/v1/employees/$version" >/dev/null || true
            done
            sleep 1
            kill -INT $capturing && wait $capturing || true
            read_keys() {
                tshark -r "$scratch/capture" -d "tcp.port==${listener##*:},tls" -o "tls.keylog_file:$1" -Y http2.headers.path \
                    -T fields -e http2.headers.path 2>/dev/null | sort | tr '\n' ' '
            }
            export -f read_keys
            expect 'tshark reads calls by the key log' '/v1/employees/2 /v1/employees/3 ' \
                bash -c 'read_keys "$scratch/keys.log"'
            expect 'tshark reads nothing without it' '^\(\)$' bash -c 'echo "($(read_keys /dev/null))"'
            rm -f "$scratch/capture"
        else
            echo '  not run: tshark (it is not installed)'
        fi
        expect 'keys are logged' '^(CLIENT_RANDOM|SERVER_TRAFFIC_SECRET_0) ' cat "$scratch/keys.log"
        "$cache/tls/bin/python" tests/partners/tls_grpc.py "$listener" "$scratch" >"$scratch/grpc" 2>&1 || true
        expect 'grpcio' '^100 answers$' cat "$scratch/grpc"
        expect 'sslyze, intermediate by Mozilla' 'COMPLIANT|OK - Compliant' \
            "$cache/tls/bin/sslyze" --mozilla_config=intermediate --certinfo_ca_file "$scratch/ca.pem" "$listener"
        exec {input}>&-
        wait %% || true
        rm -f "$scratch"/gateway.*
    done
done
exit $failed

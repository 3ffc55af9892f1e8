#!/usr/bin/env bash
# Records dist.profdata anew, which says how scripts/dist.sh lays the program out: builds the gateway with counters in it,
# has it serve calls of all kinds, and keeps what was counted. Needs rustup's llvm-tools, and openssl.
#
#   build/pgo/record.sh        worth it after a change on the way of a call, and before a release
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C

profdata=$(find "$(rustc --print sysroot)" -name llvm-profdata -print -quit)
[ -n "$profdata" ] || { echo "llvm-profdata is not there: rustup component add llvm-tools" >&2; exit 1; }
command -v openssl >/dev/null || { echo "openssl is not there: it makes the certificate, and shakes hands" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-$PWD/target}
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

# As scripts/dist.sh builds it, but for the flag: other options would give the symbols other names.
host=$(rustc -vV | sed -n 's/^host: //p')
CARGO_ENCODED_RUSTFLAGS=-Cprofile-generate=$scratch/unused \
    cargo build --locked --profile dist --bin ringway --target "$host" --target-dir "$target/counting"
ringway=$target/counting/$host/dist/ringway
# Only what a gateway counts is kept, not what services and generators do.
export LLVM_PROFILE_FILE=$scratch/unused/%m.profraw

# part NAME PLAY...: this program as a part of its own measurements. It says where it is in a line of JSON, and ends with
# its standard input, $input.
part() {
    local name=$1
    mkfifo "$scratch/$name.in" "$scratch/$name.out"
    "$ringway" stage "${@:2}" <"$scratch/$name.in" >"$scratch/$name.out" &
    exec {input}>"$scratch/$name.in"
    IFS= read -r place <"$scratch/$name.out"
    rm "$scratch/$name.in" "$scratch/$name.out"
}
said() { # said KEY: a string of that line
    sed -E "s/.*\"$1\":\"(([^\"\\\\]|\\\\.)*)\".*/\1/; s/\\\\n/\n/g; s/\\\\\"/\"/g" <<<"$place"
}
part services services
services=$input demo=$(said config)

load() { # load ROUNDS OPTIONS...: calls of one kind, 5 to 100 of them at once. None may fail; its verdict is of no interest.
    local rates
    rates=$("$ringway" load-test --json --target "$listener" --rounds "$@" </dev/null 2>/dev/null | grep '"error_rate"' | sort -u || true)
    [[ $rates =~ ^\ *\"error_rate\":\ 0\.0,$ ]] || { echo "profile: calls failed: $*" >&2; exit 1; }
}
get=(--method /ringway.demo.employee.v1.EmployeeService/GetEmployee)
# Employee 1, and a field of 64 KiB that the service does not know.
printf '\x08\x01' >"$scratch/small"
{ printf '\x08\x01\xfa\x01\x80\x80\x04' && head -c 65536 /dev/zero; } >"$scratch/large"
policies='[clusters.adaptive_timeout]\nfloor = "5s"\n[clusters.breaker]\n[clusters.outlier_detection]\n[clusters.retry]\nmax_attempts = 3'

# of BACKEND TABLES [EDIT]: the demo's configuration for one worker.
of() {
    printf 'workers = 1\n%s\n[io]\nbackend = "%s"\n' "$demo" "$1" | sed "${3:-}"
    printf '%b' "$2"
}

# gateway NAME CONFIG: one that counts.
gateway() {
    LLVM_PROFILE_FILE=$scratch/gateway-%p.profraw part "$1" gateway "$2"
    listener=$(said listener)
}

# train BACKEND TABLES EDIT: one worker serves calls of all kinds.
train() {
    gateway gateway "$(of "$@")"
    for connections in 1 16 100; do load 40 "${get[@]}" --message-file "$scratch/small" --connections "$connections"; done
    load 4 "${get[@]}" --message-file "$scratch/large" --connections 4
    load 20 --http 'GET /v1/employees/1'
    load 10 --http 'GET /v1/employees?page_size=20'
    load 10 --http 'POST /v1/auth/login/mail' --body-file "$scratch/login"
    exec {input}>&-
    wait %%
    echo "profile: $1${2:+, watched and with policies}: done" >&2
}

# train_tls BACKEND: one worker shakes hands with many, and serves calls of another gateway that takes them without TLS.
train_tls() {
    local inner place_of_tls
    gateway inner "$(of "$1" "[[listeners.tls.tls_certificates]]\ncertificate_chain = \"$scratch/cert.pem\"\nprivate_key = \"$scratch/key.pem\"\n")"
    inner=$input place_of_tls=$listener
    gateway outer "$(printf '%s\n' 'workers = 1' '[io]' "backend = \"$1\"" '[admin]' 'address = "127.0.0.1:0"' \
        '[[listeners]]' 'address = "127.0.0.1:0"' '[[routes]]' 'cluster = "tls"' '[[clusters]]' 'name = "tls"' \
        "endpoints = [\"$place_of_tls\"]" '[clusters.pool]' 'max_connection_age = "1s"' '[clusters.tls]' \
        'sni = "localhost"' '[clusters.tls.validation_context]' "trusted_ca = \"$scratch/cert.pem\"")"
    for connections in 1 16; do load 20 "${get[@]}" --message-file "$scratch/small" --connections "$connections"; done
    load 4 "${get[@]}" --message-file "$scratch/large" --connections 4
    for how in "-new -tls1_3" "-new -tls1_2" "-reuse -tls1_2"; do
        # shellcheck disable=SC2086 # these are several words
        openssl s_time -connect "$place_of_tls" $how -time 3 >"$scratch/s_time" 2>&1 || true
        grep -q '^[1-9][0-9]* connections in' "$scratch/s_time" || { cat "$scratch/s_time" >&2; exit 1; }
    done
    exec {input}>&- {inner}>&-
    wait %- %+
    echo "profile: $1, with TLS: done" >&2
}
printf '%s\n' '[req]' 'distinguished_name = name' 'x509_extensions = x' '[name]' '[x]' 'basicConstraints = CA:FALSE' \
    'subjectAltName = DNS:localhost' >"$scratch/req"
openssl req -x509 -config "$scratch/req" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj /CN=localhost -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
echo '{"mail": "ada@ringway.example", "password": "correct horse"}' >"$scratch/login"
train io_uring '' ''
train io_uring "[access_log]\npath = \"$scratch/log\"\nsample = 0.01\n[tracing]\nendpoint = \"http://127.0.0.1:9\"\nsample = 0.01\n" \
    "/name = \"employee\"/{n;a $policies
}"
train epoll '' ''
train_tls io_uring
train_tls epoll
exec {services}>&-
wait

"$profdata" merge --sparse -o build/pgo/dist.profdata "$scratch"/gateway-*.profraw
rustc -vV >build/pgo/compiler.txt
build/pgo/dependencies.sh >build/pgo/dependencies.txt
# Cargo does not see that the profile has changed; this makes it build all that is optimised again.
cargo clean --profile dist --target "$host"
ls -l build/pgo/dist.profdata

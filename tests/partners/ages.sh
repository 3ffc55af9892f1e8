#!/usr/bin/env bash
# A thousand connections of one second of age: they are told to go spread over 20 % of it, and no call of grpcio, grpc-go,
# grpc-js or grpc-java fails that goes on over connections which come and go so. On io_uring and on epoll.
#
#   tests/partners/ages.sh [RINGWAY]     the program to ask; target/release/ringway if none is named
#
# Needs python3, Go, npm, a JDK of version 17 or newer and Maven; the libraries come from their package indexes into the cache
# folder. Exit code 0 if all is so, 1 if not, 2 if it cannot be tried.
set -euo pipefail
cd "$(dirname "$0")/../.."
ringway=${1:-target/release/ringway}
count=${RINGWAY_CONNECTIONS:-1000}
seconds=10
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners/ages
missing() { echo "ages: $1" >&2; exit 2; }
[ -x "$ringway" ] || missing "$ringway is not there: cargo build --release"
for tool in python3 go npm; do
    command -v $tool >/dev/null || missing "$tool is not installed"
done
ulimit -n 8192 2>/dev/null || missing "8,192 open files are not allowed here: ulimit -n"
mkdir -p "$cache"
if [ ! -x "$cache/python/bin/python" ]; then
    python3 -m venv "$cache/python"
    "$cache/python/bin/pip" install --quiet 'grpcio>=1.70'
fi
if [ ! -x "$cache/go/ages" ]; then
    mkdir -p "$cache/go"
    cp tests/partners/ages/calls.go "$cache/go/main.go"
    (cd "$cache/go" && { [ -f go.mod ] || go mod init ages; } && go get google.golang.org/grpc@v1.76.0 && go build -o ages .) \
        >"$cache/go/log" 2>&1 || { cat "$cache/go/log" >&2; missing "grpc-go cannot be had"; }
fi
if [ ! -d "$cache/js/node_modules/@grpc/grpc-js" ]; then
    mkdir -p "$cache/js"
    (cd "$cache/js" && npm install --silent --no-audit --no-fund @grpc/grpc-js) || missing "grpc-js cannot be had"
fi
. tests/partners/maven.sh
classes tests/partners/ages "$cache/java"

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT
. tests/partners/stage.sh
failed=0
expect() { # expect PATTERN COMMAND...: its output has a line like this, and its last line is shown
    local pattern=$1
    shift
    if ! timeout 120 "$@" </dev/null >"$scratch/told" 2>&1; then :; fi
    sed 's/^/  /' "$scratch/told" | tail -n 6
    grep -qE -- "$pattern" "$scratch/told" || { echo "  FAILED: no line like $pattern" >&2; failed=1; }
}

part services
config=$(said config)
for backend in io_uring epoll; do
    echo "$backend"
    aged=$(awk '{ print } /^\[\[listeners\]\]/ { here = 1 }
        /^address = / && here { print "max_connection_age = \"1s\"\nmax_connections = 8192"; here = 0 }' <<<"$config")
    part gateway "$(printf 'workers = 2\n%s\n[io]\nbackend = "%s"\n' "$aged" "$backend")"
    listener=$(said listener)
    expect '^spread$' python3 tests/partners/ages/spread.py "$listener" "$count" 1
    expect '[1-9][0-9]* calls, 0 failed$' "$cache/python/bin/python" tests/partners/ages/calls.py "$listener" "$count" $seconds
    expect '[1-9][0-9]* calls, 0 failed$' "$cache/go/ages" "$listener" "$count" $seconds
    NODE_PATH=$cache/js/node_modules expect '[1-9][0-9]* calls, 0 failed$' \
        node tests/partners/ages/calls.js "$listener" "$count" $seconds
    expect '[1-9][0-9]* calls, 0 failed$' java -cp "$class_path" Calls "$listener" "$count" $seconds
    exec {input}>&-
    wait %% || true
    rm -f "$scratch"/gateway.*
done
exit $failed

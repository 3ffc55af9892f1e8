#!/usr/bin/env bash
# vendor/h2 is a release of h2 with h2.patch on it, and nothing else.
#
#   vendor/h2.sh            is that so? Takes the patch off and compares with the sums of the release; needs no network
#   vendor/h2.sh patch      after an edit of vendor/h2: writes h2.patch anew
#   vendor/h2.sh deny       asks cargo-deny for advisories: they are for releases, so with the release in h2's place
#   vendor/h2.sh 0.4.21     goes to another release: fetches it with Cargo, which checks it, and puts the patch on it
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sums() { (cd "$1" && find h2 -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }

# release VERSION: its files that are kept here, in $scratch/a/h2.
release() {
    mkdir -p "$scratch/project/src" "$scratch/a/h2"
    touch "$scratch/project/src/lib.rs"
    printf '[package]\nname = "project"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\nh2 = "=%s"\n[workspace]\n' "$1" \
        >"$scratch/project/Cargo.toml"
    (cd "$scratch/project" && cargo vendor --quiet crates >/dev/null)
    cp -r "$scratch/project/crates/h2/"{src,LICENSE} "$scratch/a/h2/"
    cp "$scratch/project/crates/h2/Cargo.toml.orig" "$scratch/a/h2/Cargo.toml"
}
version() { sed -n 's/^version = "\(.*\)"/\1/p' h2/Cargo.toml; }

# difference: of the release in $scratch/a and what is here.
difference() {
    mkdir "$scratch/b"
    cp -r h2 "$scratch/b/"
    (cd "$scratch" && { diff -urN a/h2 b/h2 || [ $? = 1 ]; } | sed -E 's/^(---|\+\+\+) ([^\t]*)\t.*/\1 \2/; /^diff /d')
}

case ${1:-check} in
check)
    mkdir "$scratch/a"
    cp -r h2 "$scratch/a/"
    patch --quiet --reverse --remove-empty-files --strip 1 --directory "$scratch/a" <h2.patch
    diff <(sums "$scratch/a") h2.sums || {
        echo "vendor/h2 is not the release with h2.patch on it; after an edit: vendor/h2.sh patch" >&2
        exit 1
    }
    echo "h2 $(version): the release and h2.patch, nothing else"
    ;;
patch)
    release "$(version)"
    difference >h2.patch
    sums "$scratch/a" >h2.sums
    ;;
deny)
    ln -s "$PWD"/../{build.rs,src,benches,tests,proto,deny.toml} "$scratch/"
    sed -e '/^\[patch/,/^$/d' -e "s/^h2 = \"[^\"]*\"/h2 = \"=$(version)\"/" ../Cargo.toml >"$scratch/Cargo.toml"
    cp ../Cargo.lock "$scratch/"
    (cd "$scratch" && cargo deny check advisories)
    ;;
[0-9]*)
    release "$1"
    sums "$scratch/a" >h2.sums
    rm -r h2
    cp -r "$scratch/a/h2" .
    patch --no-backup-if-mismatch --strip 1 <h2.patch
    difference >h2.patch
    (cd .. && cargo update --quiet h2)
    ;;
*)
    sed -n '4,7s/^# \{0,1\}//p' "$self" >&2
    exit 2
    ;;
esac

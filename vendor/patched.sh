#!/usr/bin/env bash
# vendor/h2 is a release with its patch on it, and nothing else.
#
#   vendor/patched.sh             is that so? Takes the patches off and compares with the releases' sums; needs no network
#   vendor/patched.sh patch h2    after an edit of vendor/h2: writes h2.patch and h2.sums anew
#   vendor/patched.sh deny        asks cargo-deny for advisories: they are for releases, so with these in the crates' place
#   vendor/patched.sh h2 0.4.21   goes to another release: fetches it with Cargo, which checks it, and puts the patch on it
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
names=(h2)

# kept NAME: what is kept of its releases. h2's Cargo.toml is that of its authors.
kept() {
    case $1 in
    h2) printf '%s\n' src LICENSE ;;
    esac
}
sums() { (cd "$1" && find "$2" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
version() { sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$1/Cargo.toml"; }

# release NAME VERSION: its files that are kept here, in $scratch/a/NAME.
release() {
    mkdir -p "$scratch/project/src" "$scratch/a/$1"
    touch "$scratch/project/src/lib.rs"
    printf '%s\n' '[package]' 'name = "project"' 'version = "0.0.0"' 'edition = "2024"' '[workspace]' '[dependencies]' \
        "$1 = { version = \"=$2\", default-features = false }" >"$scratch/project/Cargo.toml"
    (cd "$scratch/project" && cargo vendor --quiet crates >/dev/null)
    kept "$1" | (cd "$scratch/project/crates/$1" && xargs cp -r -t "$scratch/a/$1")
    [ "$1" != h2 ] || cp "$scratch/project/crates/h2/Cargo.toml.orig" "$scratch/a/h2/Cargo.toml"
}

# difference NAME: of the release in $scratch/a and what is here.
difference() {
    mkdir -p "$scratch/b"
    cp -r "$1" "$scratch/b/"
    (cd "$scratch" && { diff -urN "a/$1" "b/$1" || [ $? = 1 ]; } | sed -E 's/^(---|\+\+\+) ([^\t]*)\t.*/\1 \2/; /^diff /d')
}

# apply PATCH OPTION...: an empty one, too.
apply() { [ ! -s "$1" ] || patch --no-backup-if-mismatch --strip 1 "${@:2}" <"$1"; }

case ${*:-check} in
check)
    mkdir "$scratch/a"
    cp -r "${names[@]}" "$scratch/a/"
    code=0
    for name in "${names[@]}"; do
        if apply "$name.patch" --quiet --reverse --remove-empty-files --directory "$scratch/a" &&
            diff <(sums "$scratch/a" "$name") "$name.sums"; then
            echo "$name $(version "$name"): the release and $name.patch, nothing else"
        else
            echo "vendor/$name is not the release with $name.patch on it; after an edit: vendor/patched.sh patch $name" >&2
            code=1
        fi
    done
    exit "$code"
    ;;
"patch h2")
    release "$2" "$(version "$2")"
    difference "$2" >"$2.patch"
    sums "$scratch/a" "$2" >"$2.sums"
    ;;
deny)
    edits=(-e '/^\[patch/,/^$/d')
    for name in "${names[@]}"; do
        edits+=(-e "s/^($name = (\{ version = )?)\"[^\"]*\"/\1\"=$(version "$name")\"/")
    done
    ln -s "$PWD"/../{build.rs,src,benches,tests,proto,deny.toml} "$scratch/"
    sed -E "${edits[@]}" ../Cargo.toml >"$scratch/Cargo.toml"
    cp ../Cargo.lock "$scratch/"
    (cd "$scratch" && cargo deny check advisories)
    ;;
"h2 "[0-9]*)
    release "$1" "$2"
    sums "$scratch/a" "$1" >"$1.sums"
    rm -r "$1"
    cp -r "$scratch/a/$1" .
    apply "$1.patch"
    difference "$1" >"$1.patch"
    (cd .. && cargo update --quiet "$1")
    ;;
*)
    sed -n '4,7s/^# \{0,1\}//p' "$self" >&2
    exit 2
    ;;
esac

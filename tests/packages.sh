#!/usr/bin/env bash
# Tries the packages: builds each twice, with the same bytes, and starts the gateway where each puts it.
#
#   tests/packages.sh [STATIC PROGRAM]      built in the release profile unless one is named
#
#   archive   unpacked into an empty folder, which is the gateway's root: the demo answers a call
#   image     read by its digests, and started as its configuration says, in its own files
#   deb       installed, changed, upgraded and purged in a new Debian (SUITE, bookworm unless set)
#
# Needs root for other roots, and mmdebstrap for the third. The end names what was skipped. Gateways run in a network of
# their own, for a minute at most. Exit code 0 if all that was tried is well.
set -euo pipefail
cd "$(dirname "$0")/.."
export SCRATCH="${SCRATCH:-}"

fail() { echo "FAILED: $1" >&2; exit 1; }

# serves ROOT USER PROGRAM...: a gateway below another root gets ready, and drains when it is told to. $during runs between.
serves() {
    local log=$SCRATCH/log during=${during:-true}
    chroot --userspec="$2" "$1" "${@:3}" >"$log" 2>&1 &
    local gateway=$!
    until curl --silent --fail --output /dev/null http://127.0.0.1:9901/ready; do
        kill -0 "$gateway" 2>/dev/null || { cat "$log" >&2; fail "it ended by itself"; }
        sleep 0.1
    done
    $during || { cat "$log" >&2; fail "$during"; }
    kill -TERM "$gateway"
    wait "$gateway" || { cat "$log" >&2; fail "it did not drain"; }
    ! grep -q panic "$log" || { cat "$log" >&2; fail "a panic"; }
}

answers_json() { curl --silent --fail http://127.0.0.1:8080/v1/employees/1 | grep -q '"fullName"'; }

# A name that leads nowhere in an empty root is warned of, and asked for again.
asks_for_names() { grep -q 'does not resolve.*name="localhost"' "$SCRATCH/log"; }

in_archive() {
    local root
    root=$(echo "$SCRATCH"/archive/*)
    (cd "$root" && sha256sum --quiet --check SHA256SUMS)
    during=answers_json serves "$root" 65532:65532 /ringway
    serves "$root" 65532:65532 /ringway run --config ringway.toml
    during=asks_for_names serves "$root" 65532:65532 /ringway run --config ringway.toml \
        --set clusters.echo.endpoints=127.0.0.1:50051,localhost:50052
}

in_image() {
    local words
    mapfile -t words <"$SCRATCH/image.command"
    serves "$SCRATCH/image" "${words[@]}"
}

in_debian() {
    local debian=$SCRATCH/debian
    inside() { chroot "$debian" "$@"; }
    cp "$SCRATCH"/a/*.deb "$debian/ringway.deb"
    inside dpkg --install /ringway.deb
    inside dpkg --verify ringway
    [ "$(inside stat --format='%U:%G %a' /etc/ringway /etc/ringway/ringway.toml | tr '\n' ' ')" = \
        "root:ringway 750 root:ringway 640 " ] || fail "others can read the configuration"
    inside ringway --version
    inside ringway man | cmp - <(gzip -dc "$debian/usr/share/man/man1/ringway.1.gz") || fail "another manual"
    serves "$debian" ringway:ringway /usr/bin/ringway run --config /etc/ringway/ringway.toml

    echo '# changed' >>"$debian/etc/ringway/ringway.toml"
    inside dpkg --install /ringway.deb
    grep -q '^# changed' "$debian/etc/ringway/ringway.toml" || fail "an upgrade lost the operator's configuration"
    [ "$(inside stat --format='%U:%G %a' /etc/ringway/ringway.toml)" = "root:ringway 640" ] || fail "an upgrade opened it"
    inside dpkg --remove ringway
    [ -e "$debian/etc/ringway/ringway.toml" ] || fail "remove took the configuration"
    [ ! -e "$debian/usr/bin/ringway" ] || fail "remove left the program"
    inside dpkg --purge ringway
    [ ! -e "$debian/etc/ringway" ] || fail "purge left the configuration"
    ! inside getent passwd ringway || fail "purge left the user"
}

if [ "${1:-}" = --trial ]; then
    ip link set lo up
    "$2"
    exit
fi

# trial NAME: the function of that name, where nobody else has these ports.
trial() {
    local began=$SECONDS
    timeout --kill-after=5 120 unshare --net --pid --fork --kill-child "$0" --trial "$1" >"$SCRATCH/told" 2>&1 ||
        { cat "$SCRATCH/told" >&2; fail "$1"; }
    echo "ok: $1, $((SECONDS - began))s"
}

skipped=()
has() { # has NAME PROGRAM...: can this be tried here
    local program
    for program in "${@:2}"; do
        command -v "$program" >/dev/null || { skipped+=("$1: $program is not installed"); return 1; }
    done
    [ "$(id -u)" = 0 ] || { skipped+=("$1: needs root"); return 1; }
}

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
program=${1:-}
if [ -z "$program" ]; then
    scripts/package-static.sh --profile release --output "$SCRATCH/first" >/dev/null
    program=$(echo target/static/*/release/ringway)
fi
kinds=(static image)
if command -v dpkg-deb >/dev/null; then kinds+=(deb); else skipped+=("deb: dpkg-deb is not installed"); fi
for kind in "${kinds[@]}"; do
    for copy in a b; do "scripts/package-$kind.sh" --binary "$program" --output "$SCRATCH/$copy" 2>/dev/null; done
done
diff --recursive "$SCRATCH/a" "$SCRATCH/b" || fail "two builds differ"
(cd "$SCRATCH/a" && sha256sum --quiet --check -- *.sha256)
echo "ok: two builds of ${kinds[*]} have the same bytes"

if has archive unshare chroot ip curl; then
    mkdir "$SCRATCH/archive" && tar --extract --gzip --directory "$SCRATCH/archive" --file "$SCRATCH"/a/*.tar.gz
    trial in_archive
fi
if has image unshare chroot ip curl python3; then
    tests/support/unpack_image.py "$SCRATCH"/a/*.oci.tar "$SCRATCH/image" >"$SCRATCH/image.command"
    trial in_image
fi
if has "image, by skopeo" skopeo; then
    skopeo copy --quiet "oci-archive:$(echo "$SCRATCH"/a/*.oci.tar)" "dir:$SCRATCH/skopeo" && echo "ok: skopeo reads the image"
    skopeo copy --quiet "docker-archive:$(echo "$SCRATCH"/a/*.oci.tar)" "dir:$SCRATCH/docker" && echo "ok: as Docker's archive, too"
fi
if [[ " ${kinds[*]} " == *" deb "* ]] && has deb unshare chroot ip curl mmdebstrap; then
    mmdebstrap --quiet --variant=apt --include=adduser "${SUITE:-bookworm}" "$SCRATCH/debian" >"$SCRATCH/told" 2>&1 ||
        { cat "$SCRATCH/told" >&2; fail "no Debian could be made"; }
    trial in_debian
fi
if [ ${#skipped[@]} -gt 0 ]; then printf 'SKIPPED: %s\n' "${skipped[@]}"; fi

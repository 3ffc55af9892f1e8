#!/usr/bin/env bash
# Builds a container image, without a container engine: the static program, a user without rights, a
# configuration, and nothing else. Prints where it is: an archive in OCI's layout, which `docker load` reads, too.
#
#   scripts/package-image.sh [--ca-certificates FILE] [OPTIONS]
#
# Without --ca-certificates the image has no roots: clusters with TLS name theirs (clusters.tls.ca).
# skopeo copy oci-archive:FILE docker://REGISTRY/ringway pushes it. Needs readelf, and what package-static.sh needs.
# shellcheck source=scripts/packaging.sh
. "$(dirname "$0")/packaging.sh"
roots=
while [ $# -gt 0 ]; do
    case $1 in
    --ca-certificates) roots=${2:?--ca-certificates has no value} ;;
    *) option "$1" "${2:-}" ;;
    esac
    shift 2
done
needs readelf tar gzip sha256sum
linking=static
program
is_static || fail "$binary loads libraries, and the image has none; build it with -Ctarget-feature=+crt-static"

user=65532
root=$scratch/root
put() { install -D -m "$1" "$2" "$root/$3"; } # put MODE FILE PLACE
put 755 "$binary" usr/local/bin/ringway
sed 's|examples/minimal.toml|/etc/ringway/ringway.toml|' examples/minimal.toml >"$scratch/ringway.toml"
put 644 "$scratch/ringway.toml" etc/ringway/ringway.toml
echo "ringway:x:$user:$user::/:/sbin/nologin" >"$scratch/passwd"
echo "ringway:x:$user:" >"$scratch/group"
for file in passwd group; do put 644 "$scratch/$file" etc/$file; done
for licence in LICENSE-APACHE LICENSE-MIT; do put 644 $licence usr/share/doc/ringway/$licence; done
[ -z "$roots" ] || put 644 "$roots" etc/ssl/certs/ca-certificates.crt

# blob FILE: moves it to where its digest is its name, and prints that.
layout=$scratch/layout
mkdir -p "$layout/blobs/sha256"
blob() {
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    mv "$1" "$layout/blobs/sha256/$digest"
    echo "$digest"
}
size() { stat --format=%s "$layout/blobs/sha256/$1"; }

version=$(version)
tag=${version//\~/-} # a tag has no tilde
architecture=$(architecture)
created=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
archive "$root" >"$scratch/layer.tar"
unpacked=$(sha256sum "$scratch/layer.tar" | cut -d' ' -f1)
gzip -9n "$scratch/layer.tar"
layer=$(blob "$scratch/layer.tar.gz")

cat >"$scratch/config.json" <<JSON
{"architecture":"$architecture","os":"linux","created":"$created","config":{"User":"$user:$user","ExposedPorts":{"8080/tcp":{},"9901/tcp":{}},"Entrypoint":["/usr/local/bin/ringway"],"Cmd":["run","--config","/etc/ringway/ringway.toml"],"StopSignal":"SIGTERM","Labels":{"org.opencontainers.image.title":"ringway","org.opencontainers.image.version":"$version","org.opencontainers.image.licenses":"Apache-2.0 OR MIT"}},"rootfs":{"type":"layers","diff_ids":["sha256:$unpacked"]},"history":[{"created":"$created","created_by":"scripts/package-image.sh"}]}
JSON
config=$(blob "$scratch/config.json")
cat >"$scratch/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$(size "$config")},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:$layer","size":$(size "$layer")}]}
JSON
manifest=$(blob "$scratch/manifest")
cat >"$layout/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$(size "$manifest"),"platform":{"architecture":"$architecture","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"$tag","io.containerd.image.name":"docker.io/library/ringway:$tag"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
# An older `docker load` reads this file in place of the index.
cat >"$layout/manifest.json" <<JSON
[{"Config":"blobs/sha256/$config","RepoTags":["ringway:$tag"],"Layers":["blobs/sha256/$layer"]}]
JSON

mkdir -p "$output"
image=$output/ringway-$tag-$architecture.oci.tar
archive "$layout" >"$image"
(cd "$output" && sha256sum "${image##*/}" >"${image##*/}.sha256")
echo "$image"

#!/usr/bin/env bash
# Renders the chart of tuning/helm with Helm's own library, and holds the result against what is expected of it: Helm's
# lint, tuning/kubernetes, and the checks that tests/it/packaging makes on manifests.
#
#   tests/partners/helm.sh        UPDATE=1 writes tuning/kubernetes/ringway.yaml
#
# Needs Go, which has the library as a module. Exit code 0 if all is well, 1 if not, 2 if Go is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v go >/dev/null || { echo "missing: go, which has Helm as a module" >&2; exit 2; }
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
(cd tests/partners/helm && RENDERED=$rendered go test -count=1 ./...)
RINGWAY_MANIFESTS=$rendered cargo test --quiet --locked --test it -- packaging::manifests

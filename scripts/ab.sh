#!/usr/bin/env bash
# Is REV2 faster than REV1? Builds the end-to-end bench of both revisions in worktrees of their own, runs the two in
# turn, and prints the ratio of each figure with its spread; "no difference" where there is none.
#
#   ./check.sh ab REV1 REV2 [ROUNDS]      ROUNDS: 9 by default, at least 8 for a verdict
#
# A revision is anything git knows: a commit, a branch, a tag. What is not committed is not measured.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' scripts/ab.sh >&2
    exit 2
fi
rounds=${3:-9}
scratch=$(mktemp -d)
# Kept from one comparison to the next, so that only what differs is built anew.
target=${CARGO_TARGET_DIR:-$PWD/target}/ab
clean() {
    for side in old new; do
        git worktree remove --force "$scratch/$side" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap clean EXIT

build() { # build NAME REVISION: leaves the bench as $scratch/NAME.bench
    local commit
    commit=$(git rev-parse --verify --quiet "$2^{commit}") || { echo "no such revision: $2" >&2; exit 2; }
    echo "==> $1: $(git log -1 --format='%h %s' "$commit")" >&2
    git worktree add --quiet --detach "$scratch/$1" "$commit"
    if [ ! -f "$scratch/$1/benches/gateway.rs" ]; then
        echo "$2 has no benches/gateway.rs yet" >&2
        exit 2
    fi
    local built
    built=$(cd "$scratch/$1" && CARGO_TARGET_DIR="$target" cargo bench --locked --bench gateway --no-run 2>&1) ||
        { printf '%s\n' "$built" >&2; exit 1; }
    cp "$(printf '%s\n' "$built" | sed -n 's/.*Executable .*(\(.*\))$/\1/p' | tail -1)" "$scratch/$1.bench"
}

build old "$1"
# Two names of one commit are built once: what they show is how well this tells equal things from different ones.
if [ "$(git rev-parse "$1^{commit}")" = "$(git rev-parse "$2^{commit}" || echo none)" ]; then
    cp "$scratch/old.bench" "$scratch/new.bench"
else
    build new "$2"
fi
"$scratch/new.bench" --bench --against "$scratch/old.bench" --rounds "$rounds" --millis 400

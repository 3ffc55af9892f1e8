#!/usr/bin/env bash
# Does the gateway's memory stay where it is? Mixed load, connects and cancels for so many minutes; then PASS or FAIL,
# with the slope of its memory and how sure that is. Exit code 0 if it stays below 1 MiB in ten minutes, else 1.
#
#   scripts/soak.sh [MINUTES] [--rate N] [--json] [--program FILE]      30 minutes by default, at least 4
#
# Set PROFILE=dev to measure a build without optimisation, which is quicker to make.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=30
case "${1:-}" in
-h | --help)
    sed -n '2,7s/^# \{0,1\}//p' scripts/soak.sh
    exit 0
    ;;
[0-9]*)
    minutes=$1
    shift
    ;;
esac
exec cargo bench --locked --profile "${PROFILE:-bench}" --bench soak -- --minutes "$minutes" "$@"

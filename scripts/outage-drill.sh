#!/usr/bin/env bash
# Kills one, two and all of three endpoints for a while under a steady load, with the breaker on and beside it off. Prints
# a line for each: seconds until the breaker opened; calls that waited for a connect that found nobody, or were lost with a
# connection; such connects, with which an open breaker finds out that a service is back; calls that failed; seconds from
# the endpoints' return until the breaker was closed, and until the last call began that failed; the longest that a failed
# call took, in milliseconds. Exit code 1 if more fails with the breaker than without, if more calls go to dead endpoints,
# or if all is well more than 2 s later.
#
#   scripts/outage-drill.sh [--rates 25,300] [--outages 1,13] [--before 32] [--after 12] [--program FILE]
#
# Set PROFILE=bench to measure a build with optimisation. tests/outages.txt is the same on a clock that is a number.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
-h | --help)
    sed -n '2,11s/^# \{0,1\}//p' scripts/outage-drill.sh
    exit 0
    ;;
esac
exec cargo bench --locked --profile "${PROFILE:-dev}" --bench outage_drill -- "$@"

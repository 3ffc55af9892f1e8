#!/bin/sh
# Cargo calls the compiler through this file (.cargo/config.toml). What is optimised is compiled with release.profdata, a
# profile of the gateway under load: it says what is worth inlining, which branches calls take, and what is never on
# their way. Only the compiler it was made with can use it; any other builds without it, and so does RINGWAY_PROFILE=off.
# make.sh makes it anew, with RINGWAY_PROFILE=make:FOLDER.
#
# Where a function has changed since, it is compiled as if there were no profile.
case " $* " in
*" opt-level=3 "*) ;;
*) exec "$@" ;;
esac
here=$(dirname "$0")
case ${RINGWAY_PROFILE:-use} in
make:*) exec "$@" -Cprofile-generate="${RINGWAY_PROFILE#make:}" ;;
use) if [ "$("$1" -vV)" = "$(cat "$here/compiler.txt")" ]; then
    exec "$@" -Cprofile-use="$here/release.profdata" -Cllvm-args=-no-pgo-warn-mismatch
fi ;;
esac
exec "$@"

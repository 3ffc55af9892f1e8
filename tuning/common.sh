# Shared by irq.sh, rps.sh and xps.sh: arguments, CPUs, masks, and writing or only saying so.
# ROOT is / but for tests.
set -euo pipefail
ROOT=${ROOT:-}
MODE=show

usage() { # the comment at the script's beginning
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --apply) MODE=apply ;;
    --undo) MODE=undo ;;
    -*) usage ;;
    *) IF=$1 ;;
    esac
    shift
done
[ -n "${IF:-}" ] || usage
NET=$ROOT/sys/class/net/$IF
[ -d "$NET" ] || { echo "no such interface: $IF" >&2; exit 1; }

put() { # put VALUE FILE: writes where told to, and says what would be written otherwise
    echo "echo $1 > ${2#"$ROOT"}"
    if [ "$MODE" != show ]; then echo "$1" >"$2"; fi
}

expand() { # expand 0-2,5: one number a line
    local range
    for range in ${1//,/ }; do seq "${range%-*}" "${range#*-}"; done
}

mask() { # mask CPU...: the kernel's bit mask, words of 32 bits from the highest
    local cpu out word highest=0 words=()
    for cpu in "$@"; do
        words[cpu / 32]=$((${words[cpu / 32]:-0} | 1 << (cpu % 32)))
        if ((cpu / 32 > highest)); then highest=$((cpu / 32)); fi
    done
    out=$(printf '%x' "${words[highest]:-0}")
    for ((word = highest - 1; word >= 0; word--)); do out+=$(printf ',%08x' "${words[word]:-0}"); done
    echo "$out"
}

mapfile -t CPUS < <(expand "$(cat "$ROOT/sys/devices/system/cpu/online")")

done_with() { # the last line, for people
    if [ "$MODE" = show ]; then echo "nothing was changed; --apply does it, --undo takes it back" >&2; fi
}

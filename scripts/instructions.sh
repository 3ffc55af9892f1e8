#!/usr/bin/env bash
# How many user instructions a unary call costs, and where they go: callgrind counts a worker's thread under two loads,
# and what the larger one took more is divided by its calls. So what starting and ending takes is in no figure.
#
#   scripts/instructions.sh [PROGRAM]           PROGRAM: a build with line tables; by default one with `--profile profiling`
#   CALLS=24000 CONNECTIONS=16 STREAMS=16 BYTES=20 scripts/instructions.sh      other loads than these
#   TOP=40 scripts/instructions.sh              so many functions
#   OUT=FOLDER scripts/instructions.sh          keeps the profiles, for callgrind_annotate
#   BACKEND='PROGRAM {address}' scripts/instructions.sh       another service than that of benches/peers
#
# Needs valgrind, curl, python3, h2load and the service of benches/peers; benches/peers/setup.sh gets the last two. A ring
# does not go under valgrind, so this is the epoll back-end. Counts differ by less than 1 % from run to run, whatever else
# the machine does; they say nothing of memory and of the kernel.
set -euo pipefail
cd "$(dirname "$0")/.."

PATH=$PATH:${XDG_CACHE_HOME:-$HOME/.cache}/ringway-peers/bin
calls=${CALLS:-24000} connections=${CONNECTIONS:-16} streams=${STREAMS:-16} bytes=${BYTES:-20} top=${TOP:-40}
backend=${BACKEND:-"echo-backend raw {address} 127.0.0.1:18052"}
few=$((calls / 6))
service=127.0.0.1:18051 front=127.0.0.1:18080 admin=127.0.0.1:18081

for tool in valgrind curl python3 h2load "${backend%% *}"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: see the head of $0" >&2; exit 2; }
done
program=${1:-}
if [ -z "$program" ]; then
    cargo build --locked --profile profiling --bin ringway
    program=${CARGO_TARGET_DIR:-target}/profiling/ringway
fi

out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
running=()
clean() {
    if [ ${#running[@]} -gt 0 ]; then kill "${running[@]}" 2>/dev/null || true; fi
    if [ -z "${OUT:-}" ]; then rm -rf "$out"; fi
}
trap clean EXIT

cat >"$out/ringway.toml" <<TOML
workers = 1
[io]
backend = "epoll"
[admin]
address = "$admin"
[[listeners]]
address = "$front"
[listeners.http2]
max_concurrent_streams = 1024
[[routes]]
cluster = "echo"
[[clusters]]
name = "echo"
endpoints = ["$service"]
max_requests = 100000
max_pending_requests = 100000
TOML
python3 - "$bytes" >"$out/body" <<'PY'
import struct, sys
size = int(sys.argv[1])
sys.stdout.buffer.write(struct.pack(">BI", 0, size) + b"x" * size)
PY

load() { # load CALLS: leaves a profile of each thread as $out/CALLS-NN
    # shellcheck disable=SC2086 # a command is several words
    ${backend//\{address\}/$service} >"$out/backend.log" 2>&1 &
    local back=$!
    rm -f "$out/$1"-*
    valgrind --tool=callgrind --separate-threads=yes --callgrind-out-file="$out/$1" \
        "$program" run --config "$out/ringway.toml" >"$out/ringway.log" 2>&1 &
    local gateway=$!
    running=("$back" "$gateway")
    for _ in $(seq 600); do
        if curl -sf "http://$admin/ready" >/dev/null; then break; fi
        sleep 0.1
    done
    h2load -t1 -n "$1" -c "$connections" -m "$streams" -d "$out/body" -H 'content-type: application/grpc' \
        -H 'te: trailers' "http://$front/echo.Echo/Unary" >"$out/h2load.log" 2>&1 || true
    grep -q "$1 succeeded, 0 failed, 0 errored" "$out/h2load.log" || { cat "$out/h2load.log" >&2; exit 1; }
    # A gRPC call that fails has HTTP status 200, too.
    local ok
    ok=$(curl -sf "http://$admin/metrics" |
        awk '/^ringway_calls_total{.*grpc_status="OK"/ { n += $NF } END { print n + 0 }')
    [ "$ok" -eq "$1" ] || { echo "$ok of $1 calls ended with grpc-status 0" >&2; exit 1; }
    kill "$gateway" && wait "$gateway" || true
    kill "$back" && wait "$back" 2>/dev/null || true
    running=()
}
load "$few"
load "$calls"

python3 - "$out" "$few" "$calls" "$top" <<'PY'
import collections, pathlib, re, sys

folder, few, many, top = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


class Profile:
    """What one thread executed: by function, its own instructions and those with all that it called."""

    def __init__(self, path):
        self.own, self.all, self.calls = collections.Counter(), collections.Counter(), collections.Counter()
        names, function, callee, calls = {}, None, None, 0

        def name(text):
            number, _, known = text.partition(" ")
            return names.setdefault(number, known)

        for line in path.read_text().splitlines():
            if line.startswith("fn="):
                function = name(line[3:])
            elif line.startswith("cfn="):
                callee = name(line[4:])
            elif line.startswith("calls="):
                calls = int(line[6:].split()[0])
            elif re.match(r"[0-9+*-]", line):
                count = int(line.split()[-1])
                if calls:
                    self.all[callee] += count
                    self.calls[callee] += calls
                    calls = 0
                else:
                    self.own[function] += count
        self.total = sum(self.own.values())


def worker(calls):
    return max((Profile(path) for path in folder.glob(f"{calls}-*")), key=lambda profile: profile.total)


before, after = worker(few), worker(many)
each = lambda counts: lambda name: (getattr(after, counts)[name] - getattr(before, counts)[name]) / (many - few)
own, inclusive, times = each("own"), each("all"), each("calls")
print(f"{(after.total - before.total) / (many - few):.0f} instructions a call\n")
print("     own    all  times  function")
for function in sorted(after.own, key=own, reverse=True)[:top]:
    print(f"{own(function):8.0f} {inclusive(function):6.0f} {times(function):6.2f}  {function}")
PY

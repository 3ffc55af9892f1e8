#!/usr/bin/env bash
# The greeter in Python behind Ringway: makes a virtual environment, the code and the descriptor set, starts service and
# gateway, calls as ../README.md does, and ends both. Exit code 0 if every answer is as it should be.
#
#   ./run.sh           try it
#   ./run.sh make      make the environment, the code and the descriptor set; start nothing
#   ./run.sh serve     start both and leave them running until Ctrl-C
#
# PYTHON names another Python, RINGWAY another build of the gateway.
set -euo pipefail
cd "$(dirname "$0")"

case "${1:-try}" in
try | make | serve) what=${1:-try} ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

if [ ! -x .venv/bin/python ]; then
    "${PYTHON:-python3}" -m venv .venv
fi
.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
mkdir -p build
.venv/bin/python -m grpc_tools.protoc -I .. -I ../../../proto --python_out build --grpc_python_out build \
    --include_imports --descriptor_set_out build/greeter.protoset ../greeter.proto
if [ "$what" = make ]; then exit 0; fi

root=$(cd ../../.. && pwd)
ringway=${RINGWAY:-$root/target/release/ringway}
if [ ! -x "$ringway" ]; then
    (cd "$root" && cargo build --release --locked)
fi

pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
}
trap stop EXIT

.venv/bin/python service.py &
pids+=($!)
"$ringway" check --config ../python.toml
"$ringway" run --config ../python.toml &
pids+=($!)
answers() { # answers PORT: whether somebody listens there
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
for _ in $(seq 300); do
    if answers 50051 && answers 8080; then break; fi
    for pid in "${pids[@]}"; do
        kill -0 "$pid" 2>/dev/null || { echo "one of the two has ended" >&2; exit 1; }
    done
    sleep 0.1
done
if [ "$what" = serve ]; then
    wait "${pids[1]}"
    exit 0
fi

failed=0
try() { # try WANTED COMMAND...
    local wanted=$1 answer
    shift
    answer=$("$@") || true
    printf '\n$ %s\n%s\n' "$*" "$answer"
    if [ "$answer" != "$wanted" ]; then
        printf 'WRONG, wanted: %s\n' "$wanted"
        failed=1
    fi
}
try '{"message":"Hello, Ada!"}' curl -s http://127.0.0.1:8080/v1/hello/Ada
try '{"message":"Hello, Ada!"}' curl -s -H 'content-type: application/json' -d '{"name": "Ada"}' \
    http://127.0.0.1:8080/v1/hello
try $'{"left":2}\n{"left":1}' curl -sN http://127.0.0.1:8080/v1/countdown/2
try 400 curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/v1/countdown/200
try $'Hello, Ada!\n3\n2\n1' .venv/bin/python client.py
exit "$failed"

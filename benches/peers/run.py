#!/usr/bin/env python3
"""Measures gateways side by side: CPU time of a call, and memory of an idle connection.

    benches/peers/setup.sh                                                once
    benches/peers/run.py --ringway "$(scripts/dist.sh)"                   all of it, about ten minutes
    benches/peers/run.py --ringway target/release/ringway --gateways ringway,haproxy-stable --scenarios S2 --rounds 2

Each gateway has one worker on one core; the load generator and the service behind it are on another. All are measured
in turn, round by round, so that a moment in which the host is busy does not hit one alone. `quiet` is the lowest round.

No figure stands for a call that was not OK. h2load counts HTTP statuses, and gRPC's errors have 200, so two others
look: the service counts what it answered, which has to be what was sent; and a client beside the load looks at
`grpc-status` and message of all its calls. Where either differs, the run ends with exit code 1 and without figures.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

import gateways
from processes import Process

BACK, COUNTER, FRONT = 18051, 18052, 18080

# What it takes to be done before a gateway is measured.
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Scenario:
    """One kind of load."""

    title: str
    bytes: int = 0
    connections: int = 0
    streams: int = 1
    json: bool = False


SCENARIOS = {
    "S1": Scenario("gRPC, 20 B, 1 connection x 1 stream", 20, 1, 1),
    "S2": Scenario("gRPC, 20 B, 32 x 32", 20, 32, 32),
    "S3": Scenario("gRPC, 1 KiB, 16 x 16", 1 << 10, 16, 16),
    "S4": Scenario("gRPC, 64 KiB, 8 x 8", 64 << 10, 8, 8),
    "S5": Scenario("JSON over HTTP/1.1 to gRPC, 64 connections", 20, 64, 1, json=True),
    "S6": Scenario("KiB of an idle HTTP/2 connection after one call", 20, 1000),
}


class NotOk(Exception):
    """A call was not OK, so there is no figure."""


def answered():
    """How many calls the service has answered so far."""
    with socket.create_connection(("127.0.0.1", COUNTER), 10) as connection:
        return int(connection.makefile().read())


class Watch:
    """Calls beside the load, each of which is looked at."""

    def __init__(self, kit, scenario, port):
        self.kit, self.scenario, self.port = kit, scenario, port

    def __enter__(self):
        if self.scenario.json:
            self.calls, self.failure, self.ended = 0, "", threading.Event()
            self.thread = threading.Thread(target=self.call_json, daemon=True)
            self.thread.start()
        else:
            address = f"127.0.0.1:{self.port}"
            command = [self.kit.tool("probe"), "watch", address, str(self.scenario.bytes)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.probe = Process(command, self.kit.load_core, self.kit.folder / "probe.log", **pipes)
        return self

    def __exit__(self, *_):
        if self.scenario.json:
            self.ended.set()
            self.thread.join()
        else:
            self.probe.__exit__()

    def call_json(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        body, headers = self.kit.body(self.scenario), {"content-type": "application/json"}
        while not self.ended.wait(0.02):
            self.calls += 1
            try:
                connection.request("POST", "/v1/echo", body, headers)
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200 or json.loads(answer) != json.loads(body):
                    self.failure = f"HTTP status {response.status}: {answer[:200]!r}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failure = repr(error)

    def end(self):
        """How many calls it made; fails if one of them was not OK."""
        if self.scenario.json:
            self.ended.set()
            self.thread.join()
            calls, failure = self.calls, self.failure
        else:
            words = self.probe.child.communicate("", timeout=30)[0].split(None, 2)
            if len(words) < 2:
                raise NotOk("the client beside the load has ended: see " + str(self.probe.log))
            calls, failure = int(words[0]), "" if words[1] == "0" else f"{words[1]} calls: {words[2]}"
        if failure:
            raise NotOk(failure)
        return calls


class Kit:
    """What measures, and where."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.cache = pathlib.Path(options.home)
        self.core, self.load_core = options.core, options.load_core
        self.patience = max(60.0, 20 * options.seconds)

    def tool(self, name):
        return str(self.cache / "bin" / name)

    def body(self, scenario):
        if scenario.json:
            return json.dumps({"text": "x" * scenario.bytes}).encode()
        return b"\0" + scenario.bytes.to_bytes(4, "big") + b"x" * scenario.bytes

    def start(self, gateway, front):
        folder = self.folder / f"{gateway.name}-{front}"
        folder.mkdir()
        place = gateways.Place(folder, front, front + 1000, BACK, self.cache / "echo.protoset")
        process = Process(gateway.command(gateway.program, place), self.core, folder / "log", cwd=folder)
        try:
            process.serves(front)
        except RuntimeError:
            process.__exit__()
            raise
        return process

    def load(self, scenario, port, calls):
        """Makes so many calls; all of them have to succeed."""
        body = self.folder / "body"
        body.write_bytes(self.body(scenario))
        url = f"http://127.0.0.1:{port}/" + ("v1/echo" if scenario.json else "ringway.peers.Echo/Unary")
        command = [self.tool("h2load"), "-n", str(calls), "-c", str(scenario.connections), "-d", str(body)]
        command += ["-m", str(scenario.streams), "-w", "20", "-W", "24"]
        kind = "application/json" if scenario.json else "application/grpc"
        command += ["-H", f"content-type: {kind}"]
        command += ["--h1"] if scenario.json else ["-H", "te: trailers"]
        pin = lambda: os.sched_setaffinity(0, {self.load_core})
        output = subprocess.run(
            command + [url], capture_output=True, text=True, preexec_fn=pin, timeout=self.patience
        ).stdout
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        codes = re.search(r"status codes: (\d+) 2xx", output)
        if not done or [int(count) for count in done.groups()] != [calls, 0, 0, 0] or int(codes[1]) != calls:
            raise NotOk("h2load: " + (done[0] if done else output[-500:]))

    def round(self, scenario, process, port, calls):
        """CPU time of a call in microseconds, and calls a second."""
        began_with = answered()
        with Watch(self, scenario, port) as watch:
            cpu, counted, began = process.cpu(), answered(), time.monotonic()
            self.load(scenario, port, calls)
            took, seen = time.monotonic() - began, answered() - counted
            cpu = process.cpu() - cpu
            sent = calls + watch.end()
        got = answered() - began_with
        if got != sent:
            raise NotOk(f"{sent} calls were sent, and the service has answered {got}")
        return cpu / seen / 1000, calls / took

    def calls(self, scenario, port):
        """How many calls fill a round, by how many a warm-up makes."""
        calls, floor = scenario.connections * scenario.streams, 200
        while True:
            calls = max(calls, floor)
            began = time.monotonic()
            self.load(scenario, port, calls)
            took = time.monotonic() - began
            if took >= WARM_UP_SECONDS:
                return max(floor, int(calls / took * self.options.seconds))
            calls = int(calls * min(8.0, 1.3 * WARM_UP_SECONDS / max(took, 0.01)))

    def memory(self, scenario, gateway, port):
        """KiB that the gateway holds for each idle connection."""
        with self.start(gateway, port) as process:
            self.load(SCENARIOS["S1"], port, 200)
            time.sleep(0.5)
            before = process.memory()
            command = [self.tool("probe"), "hold", f"127.0.0.1:{port}", str(scenario.connections)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            with Process(command, self.load_core, self.folder / "probe.log", **pipes) as probe:
                if probe.child.stdout.readline() != "held\n":
                    raise NotOk("a connection got no answer: see " + str(probe.log))
                time.sleep(1)
                return (process.memory() - before) / scenario.connections / 1024


def measure(kit, chosen, scenarios):
    """Figures by scenario and gateway: a list of rounds, each with CPU time and rate; memory has no rate."""
    figures = {}
    backend = [kit.tool("echo-backend"), kit.options.backend, f"127.0.0.1:{BACK}", f"127.0.0.1:{COUNTER}"]
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(Process(backend, kit.load_core, kit.folder / "backend.log"))
        service.serves(BACK)
        running = {}
        for at, gateway in enumerate(chosen):
            running[gateway.name] = (FRONT + at, stack.enter_context(kit.start(gateway, FRONT + at)))
        for name in scenarios:
            scenario = SCENARIOS[name]
            rows = figures[name] = {}
            takes_part = [gateway for gateway in chosen if gateway.json or not scenario.json]
            doing = lambda gateway: print(f"{name} {gateway.name}", file=sys.stderr, flush=True)
            with blame(lambda: f"{name}, {gateway.name}"):
                if name == "S6":
                    for at, gateway in enumerate(takes_part):
                        doing(gateway)
                        rows[gateway.name] = [(kit.memory(scenario, gateway, FRONT + 100 + at), None)]
                    continue
                calls = {}
                for gateway in takes_part:
                    doing(gateway)
                    calls[gateway.name] = kit.calls(scenario, running[gateway.name][0])
                for turn in range(kit.options.rounds):
                    # Nobody is always the first.
                    first = turn % len(takes_part) if takes_part else 0
                    for gateway in takes_part[first:] + takes_part[:first]:
                        port, process = running[gateway.name]
                        figure = kit.round(scenario, process, port, calls[gateway.name])
                        rows.setdefault(gateway.name, []).append(figure)
    return figures


@contextlib.contextmanager
def blame(who):
    """Says where a call was not OK."""
    try:
        yield
    except NotOk as error:
        raise NotOk(f"{who()}: {error}") from None


def quiet(rounds):
    return min(figure for figure, _ in rounds)


def median(rounds):
    return statistics.median(figure for figure, _ in rounds)


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def markdown(figures, versions, options):
    """The table: quiet figures, and medians in brackets; `share` is Ringway's over the best other one's."""
    digits = lambda value: f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    names = list(versions)
    share = "ringway" in names and len(names) > 1
    lines = ["| load | " + " | ".join(versions.values()) + (" | share |" if share else " |")]
    lines.append("|---|" + "--:|" * (len(names) + share))
    for scenario, rows in figures.items():
        cells = [SCENARIOS[scenario].title]
        for name in names:
            rounds = rows.get(name)
            cell = digits(quiet(rounds)) if rounds else ""
            cells.append(cell + (f" ({digits(median(rounds))})" if rounds and len(rounds) > 1 else ""))
        if share:
            others = [quiet(rounds) for name, rounds in rows.items() if name != "ringway"]
            ours = rows.get("ringway")
            cells.append(f"{quiet(ours) / min(others):.2f}" if ours and others else "")
        lines.append("| " + " | ".join(cells) + " |")
    it = machine()
    lines.append("")
    lines.append(
        f"CPU us a call, lowest of {options.rounds} rounds of about {options.seconds:g} s in turn (median). "
        f"{it['cpu']}, {it['cores']} cores, Linux {it['kernel']}. Service: {options.backend}. Every call was OK."
    )
    return "\n".join(lines) + "\n"


def arguments():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ringway", metavar="PROGRAM", help="Ringway's program; without one it is left out")
    parser.add_argument("--gateways", metavar="NAMES", help="some of those that are there, with commas")
    parser.add_argument("--scenarios", metavar="NAMES", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a round is")
    parser.add_argument("--core", type=int, default=0, help="where gateways run")
    parser.add_argument("--load-core", type=int, default=1, help="where the load and the service behind them run")
    parser.add_argument("--backend", choices=["raw", "h2"], default="raw", help="the service: fast, or on tokio and h2")
    parser.add_argument("--home", default=str(cache / "ringway-peers"), help="where setup.sh put everything")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, too")
    parser.add_argument("--json", action="store_true", help="print all rounds as JSON")
    return parser.parse_args()


def main():
    options = arguments()
    own = os.path.abspath(options.ringway) if options.ringway else None
    there = gateways.found(pathlib.Path(options.home), own)
    names = options.gateways.split(",") if options.gateways else list(there)
    scenarios = options.scenarios.split(",")
    unknown = [name for name in names if name not in there] + [name for name in scenarios if name not in SCENARIOS]
    if unknown or not names:
        sys.exit(f"not there: {', '.join(unknown) or 'any gateway'}; there are {', '.join(there) or 'none'}")
    names.sort(key=lambda name: name != "ringway")
    chosen = [there[name] for name in names]
    versions = {gateway.name: gateway.describe() for gateway in chosen}
    os.sched_setaffinity(0, {options.load_core})
    with tempfile.TemporaryDirectory(prefix="ringway-peers-") as folder:
        try:
            figures = measure(Kit(options, pathlib.Path(folder)), chosen, scenarios)
        except (NotOk, RuntimeError, subprocess.TimeoutExpired) as error:
            sys.exit(f"no figures: {error}")
    table = markdown(figures, versions, options)
    if options.markdown:
        pathlib.Path(options.markdown).write_text(table)
    if options.json:
        rounds = lambda kept: [{"figure": figure, "calls_per_s": rate} for figure, rate in kept]
        shown = {name: {who: rounds(kept) for who, kept in rows.items()} for name, rows in figures.items()}
        print(json.dumps({"machine": machine(), "versions": versions, "figures": shown}, indent=2))
    else:
        print(table, end="")


if __name__ == "__main__":
    main()

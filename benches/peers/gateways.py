"""The gateways: how each is started with one worker, as a plain gRPC proxy, and what it says its version is.

Each forwards cleartext HTTP/2 from `front` to `back`, without logs and traces, and with limits that no load here meets.
"""

import json
import os
import pathlib
import re
import subprocess
from dataclasses import dataclass
from typing import Callable, Optional

STREAMS = 1024
WINDOW, CONNECTION_WINDOW = 1 << 20, 16 << 20


@dataclass
class Place:
    """Where one gateway runs."""

    folder: pathlib.Path
    front: int
    admin: int
    back: int
    protoset: pathlib.Path

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass
class Gateway:
    """One gateway. `command` gets its program and its place, and gives the command line."""

    name: str
    program: str
    command: Callable
    version: Callable
    # Whether it turns JSON into gRPC.
    json: bool = False

    def describe(self):
        try:
            return self.version(self.program)
        except (OSError, IndexError, TypeError, subprocess.SubprocessError):
            return "version unknown"


def said(*command):
    output = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return (output.stdout + output.stderr).strip().splitlines()[0]


def ringway(program, place):
    config = f"""
workers = 1
[admin]
address = "127.0.0.1:{place.admin}"
[[listeners]]
address = "127.0.0.1:{place.front}"
[listeners.http2]
max_concurrent_streams = {STREAMS}
[[routes]]
cluster = "echo"
[[clusters]]
name = "echo"
endpoints = ["127.0.0.1:{place.back}"]
max_requests = 100000
max_pending_requests = 100000
"""
    if place.protoset.exists():
        config += f'[transcoding]\ndescriptor_sets = ["{place.protoset}"]\n'
    return [program, "run", "--config", place.write("ringway.toml", config)]


def nginx(program, place):
    # One call at a time goes over each of its connections to a service, so as many are kept as calls can be in flight.
    config = f"""
daemon off;
worker_processes 1;
pid {place.folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {place.folder}/body;
    proxy_temp_path {place.folder}/proxy;
    fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi;
    scgi_temp_path {place.folder}/scgi;
    upstream echo {{
        server 127.0.0.1:{place.back};
        keepalive 2048;
        keepalive_requests 4000000000;
        keepalive_time 1d;
    }}
    server {{
        listen 127.0.0.1:{place.front} http2 backlog=4096;
        http2_max_concurrent_streams {STREAMS};
        keepalive_requests 4000000000;
        keepalive_time 1d;
        keepalive_timeout 1h;
        client_body_buffer_size 128k;
        location / {{
            grpc_pass grpc://echo;
            grpc_buffer_size 64k;
        }}
    }}
}}
"""
    return [program, "-p", str(place.folder), "-c", place.write("nginx.conf", config)]


def haproxy(program, place):
    # With the default buffers (16 KiB) messages of 64 KiB cost a third more.
    config = f"""
global
    nbthread 1
    maxconn 8000
    tune.bufsize 32768
    tune.h2.max-frame-size 16384
    tune.h2.initial-window-size {WINDOW}
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{place.front} proto h2 backlog 4096
    default_backend echo
backend echo
    server echo 127.0.0.1:{place.back} proto h2
"""
    return [program, "-db", "-f", place.write("haproxy.cfg", config)]


def envoy(program, place):
    """Envoy takes its configuration as JSON, too."""
    types = "type.googleapis.com/envoy.extensions"

    def typed(kind, **fields):
        return {"@type": f"{types}.{kind}", **fields}

    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    http2 = {
        "max_concurrent_streams": STREAMS,
        "initial_stream_window_size": WINDOW,
        "initial_connection_window_size": CONNECTION_WINDOW,
    }
    filters = [
        {
            "name": "envoy.filters.http.router",
            "typed_config": typed(
                "filters.http.router.v3.Router", dynamic_stats=False, suppress_envoy_headers=True
            ),
        }
    ]
    if place.protoset.exists():
        transcoder = typed(
            "filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            proto_descriptor=str(place.protoset),
            services=["ringway.peers.Echo"],
            match_incoming_request_route=True,
        )
        filters.insert(0, {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder})
    route = {"match": {"prefix": "/"}, "route": {"cluster": "echo", "timeout": "0s"}}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="clients",
        generate_request_id=False,
        http2_protocol_options=http2,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=filters,
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    upstream = typed(
        "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": http2}
    )
    limits = {"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000}
    endpoint = {"endpoint": {"address": address(place.back)}}
    cluster = {
        "name": "echo",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": upstream},
        "load_assignment": {"cluster_name": "echo", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "clients", "address": address(place.front), "filter_chains": [chain]}
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    path = place.write("envoy.json", json.dumps(config))
    return [program, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", path]


def pingora(program, place):
    return [program, f"127.0.0.1:{place.front}", f"127.0.0.1:{place.back}"]


def found(cache: pathlib.Path, own: Optional[str]):
    """All gateways that are there, by name; `own` is Ringway's program."""
    pingora_version = cache / "pingora.version"
    programs = cache / "bin"
    every = [
        Gateway("envoy", "envoy", envoy, lambda it: "Envoy " + re.search(r"/(\d+\.\d+\.\d+)/", said(it, "--version"))[1], json=True),
        Gateway("pingora", "peers-pingora", pingora, lambda _: "pingora " + pingora_version.read_text().strip()),
    ]
    for suite in ["stable", "sid"]:
        every.append(
            Gateway(f"nginx-{suite}", f"nginx-{suite}", nginx, lambda it: "NGINX " + said(it, "-v").split("/")[1])
        )
        every.append(
            Gateway(
                f"haproxy-{suite}", f"haproxy-{suite}", haproxy, lambda it: "HAProxy " + said(it, "-v").split()[2]
            )
        )
    gateways = {}
    for gateway in every:
        gateway.program = str(programs / gateway.program)
        if os.access(gateway.program, os.X_OK):
            gateways[gateway.name] = gateway
    if own:
        version = lambda it: "Ringway " + said(it, "--version").partition(" ")[2]
        gateways["ringway"] = Gateway("ringway", own, ringway, version, json=True)
    return gateways

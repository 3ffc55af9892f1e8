"""pairs.py RINGWAY "NAME ADDRESS"...: a rude client beside a polite one, before each of these services.

See rude.sh, which starts the services.
"""

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

PAIRS = int(os.environ.get("PAIRS", 9))
SECONDS = int(os.environ.get("SECONDS_EACH", 4))
RATE = int(os.environ.get("RATE", 500))
RISE_MAX = 1.2
METHOD = "/ringway.demo.employee.v1.EmployeeService/GetEmployee"
MESSAGE = b"\x08\x01"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 2, 3, 4, 6, 8
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    return bytes([len(value)]) + value.encode()


# Fields of the static table, and literals that no table keeps (RFC 7541 section 6.2.2).
HEAD = (
    b"\x83\x86\x04" + text(METHOD) + b"\x01" + text("rude") + b"\x0f\x10" + text("application/grpc")
    + b"\x00" + text("te") + text("trailers")
)
BODY = struct.pack(">BI", 0, len(MESSAGE)) + MESSAGE


class Connection:
    """A connection whose streams may send nothing but heads: their windows stay shut."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
        self.next = 1
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while self.socket.recv(65536):
                pass
        except OSError:
            pass

    def open(self):
        stream, self.next = self.next, self.next + 2
        return stream, frame(HEADERS, END_HEADERS, stream, HEAD)

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))


def cancels(connection):
    """Calls that are cancelled at once."""
    frames = []
    for _ in range(20):
        stream, head = connection.open()
        frames += [head, frame(RST_STREAM, 0, stream, struct.pack(">I", 8))]
    connection.send(*frames)


def unread(connection):
    """Calls whose responses have no window; those of a while ago are cancelled."""
    frames = []
    for _ in range(4):
        stream, head = connection.open()
        frames += [head, frame(DATA, END_STREAM, stream, BODY)]
        if stream > 160:
            frames.append(frame(RST_STREAM, 0, stream - 160, struct.pack(">I", 8)))
    connection.send(*frames)


def drips(connection):
    """A body that comes a byte at a time, among frames that mean nothing."""
    stream, head = connection.open()
    frames = [head] + [frame(DATA, 0, stream, BODY[at : at + 1]) for at in range(len(BODY) - 1)]
    frames.append(frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 1)))
    frames.append(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)))
    frames.append(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
    connection.send(*frames)


def rude(address, ended, deaths):
    """All of it ten times a second, each on a connection of its own. One that is ended begins anew."""
    habits = [cancels, unread, drips]
    connections = [Connection(address) for _ in habits]
    while not ended.wait(0.1):
        for at, habit in enumerate(habits):
            try:
                habit(connections[at])
            except OSError:
                deaths.append(habit.__name__)
                connections[at] = Connection(address)


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def gateway(ringway, service):
    address = f"127.0.0.1:{port()}"
    process = subprocess.Popen(
        [ringway, "run", "--to", service, "--listen", address, "--set", "workers=1",
         "--set", f"admin.address=127.0.0.1:{port()}"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )
    threading.Thread(target=process.stderr.read, daemon=True).start()
    for _ in range(100):
        try:
            socket.create_connection(tuple(address.split(":"))).close()
            return process, address
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"rude: no gateway at {address}")


def p99(ringway, address, message):
    """Milliseconds, of calls on a schedule of which none may fail."""
    told = subprocess.run(
        [ringway, "load-test", "--json", "--open-loop", "--rate", str(RATE), "--duration", str(SECONDS), "--target", address,
         "--method", METHOD, "--message-file", message],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )
    step = json.loads(told.stdout)["steps"][0]
    if step["error_rate"] != 0:
        raise SystemExit(f"rude: polite calls failed: {step['endings']}")
    return step["p99_ms"]["median"]


def figure(ringway, message, polite, other, deaths):
    ended = threading.Event()
    rudeness = threading.Thread(target=rude, args=(other, ended, deaths))
    rudeness.start()
    try:
        time.sleep(0.5)
        return p99(ringway, polite, message)
    finally:
        ended.set()
        rudeness.join()


def judged(ringway, message, name, service):
    """Whether the polite client is left alone; prints a line of the table."""
    (own, address), (apart, elsewhere) = gateway(ringway, service), gateway(ringway, service)
    calm, again, shared, deaths = [], [], [], []
    try:
        for _ in range(PAIRS):
            calm.append(figure(ringway, message, address, elsewhere, deaths))
            shared.append(figure(ringway, message, address, address, deaths))
            again.append(figure(ringway, message, address, elsewhere, deaths))
    finally:
        own.terminate()
        apart.terminate()
    rise = statistics.median(after / before for before, after in zip(calm, shared))
    noise = statistics.median(max(a, b) / min(a, b) for a, b in zip(calm, again))
    # A connection that is ended does little harm: what is allowed has to be tried.
    is_good = rise <= max(RISE_MAX, noise) and not deaths
    print(f"{name:<10} {statistics.median(calm + again):8.2f} {statistics.median(shared):10.2f} "
          f"{rise:8.2f} {noise:8.2f} {len(deaths):6}  {'yes' if is_good else 'NO'}", flush=True)
    return is_good


def main():
    ringway, services = sys.argv[1], [service.split() for service in sys.argv[2:]]
    with tempfile.NamedTemporaryFile() as message:
        message.write(MESSAGE)
        message.flush()
        print(f"{'service':<10} {'calm, ms':>8} {'shared, ms':>10} {'rise':>8} {'noise':>8} {'ended':>6}  good")
        sys.exit(0 if all([judged(ringway, message.name, *service) for service in services]) else 1)


if __name__ == "__main__":
    main()

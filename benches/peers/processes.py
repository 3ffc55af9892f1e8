"""Processes on the core they belong to: what they cost, what they hold, and their end."""

import os
import pathlib
import signal
import socket
import subprocess
import time


def tree(pid):
    """A process and all below it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in brackets may have spaces, so what follows is counted from its end.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                pass  # it has ended
    family = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in family} - family
        if not more:
            return family
        family |= more


class Process:
    """A program that runs on one core until the end of a `with`."""

    def __init__(self, command, core, log, **options):
        self.log = log
        out = open(log, "ab")
        options.setdefault("stdout", out)
        pin = lambda: os.sched_setaffinity(0, {core})
        self.child = subprocess.Popen(command, stderr=out, preexec_fn=pin, start_new_session=True, **options)
        out.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def serves(self, port, patience=10.0):
        """Waits until it listens."""
        given_up_at = time.monotonic() + patience
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.child.poll() is not None or time.monotonic() > given_up_at:
                    said = pathlib.Path(self.log).read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.child.args[0]} does not serve:\n{said}") from None
                time.sleep(0.02)

    def cpu(self):
        """Nanoseconds of CPU time that its threads have had."""
        total = 0
        for pid in tree(self.child.pid):
            for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
                try:
                    total += int((thread / "schedstat").read_text().split()[0])
                except OSError:
                    pass  # it has ended
        return total

    def memory(self):
        """Bytes that it holds, each shared page by its share."""
        total = 0
        for pid in tree(self.child.pid):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
        return total

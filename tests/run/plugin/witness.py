"""A third-party method that sees, from inside its timed rounds, what every other process of qbench does."""

import hashlib
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qbench.methods.absmax import Absmax


@dataclass(frozen=True)
class Witness(Absmax):
    """Notes who used a processor while a round of it was timed; or spins, or dies, in its rounds."""

    how: Literal["watch", "spin", "die", "linger"] = "watch"
    note: str = ""

    def quantize_layer(self, weight, layer):
        from qbench.probes.latency.measure import timing as latency

        if not hasattr(latency, "witnessed"):
            latency.witnessed = latency.timed_round
            latency.timed_round = getattr(self, f"do_{self.how}")(latency.timed_round)
        return super().quantize_layer(weight, layer)

    def do_watch(self, timed_round):
        def watched(*arguments):
            before, started = busy_ns(), time.perf_counter()
            seconds = timed_round(*arguments)
            wall_s, after = time.perf_counter() - started, busy_ns()
            used = {name: after[name] - before[name] for name in before}
            with Path(self.note).open("a") as note:
                note.write(json.dumps({**used, "wall_s": wall_s}) + "\n")
            return seconds

        return watched

    def do_spin(self, timed_round):
        """A thread that a careless method left behind, which no wait of the worker stops.

        It computes without Python's lock: with it, every operator of its own worker would wait for it.
        """

        def spin():
            while True:
                hashlib.pbkdf2_hmac("sha256", b"never", b"rests", 500_000)

        threading.Thread(target=spin, daemon=True).start()
        return timed_round

    def do_die(self, timed_round):
        left = iter(range(4))

        def dying(*arguments):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return timed_round(*arguments)

        return dying

    def do_linger(self, timed_round):
        def slow(*arguments):
            with Path(self.note).open("a") as note:
                note.write(f"{os.getppid()}\n")
            time.sleep(0.2)
            return timed_round(*arguments)

        return slow


def busy_ns():
    """Nanoseconds on a processor until now: of the parent, the server, and all other workers together."""
    server = os.getppid()
    parent = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    workers = [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]
    others = [pid for pid in workers if pid != os.getpid()]
    return {"parent": used_ns(parent), "server": used_ns(server), "others": sum(map(used_ns, others))}


def used_ns(pid):
    return sum(
        int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()
    )

"""A benchmark's processor time beside that of a reference in the same process: what `ratios.py` compares.

Both are the least of their rounds. In seconds of processor time, of this process and of those that it names:
on a machine that others use too, wall time tells of the others. So what merely waits is not seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def reference() -> str:
    """The work that the harness is compared with: dicts, JSON, sorting and hashing, some 20 ms."""
    rows = [
        {"name": f"row {number}", "value": number * 0.37, "at": [number, -number]} for number in range(4000)
    ]
    text = json.dumps(sorted(json.loads(json.dumps(rows)), key=lambda row: -row["value"]))
    return hashlib.sha256(text.encode()).hexdigest()


def spent(pid: int | None = None) -> float:
    """Seconds of processor time of this process, and of a server with all workers that it has seen die."""
    return time.process_time() + (0.0 if pid is None else of_server(pid))


def of_server(pid: int) -> float:
    """Fields 14 to 17 of proc(5) stat: its own and its children's, user and system, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def note(
    benchmark: Any,
    work: Callable[[], Any],
    rounds: int,
    clock: Callable[[], float] = spent,
    per: int = 1,
    beside: Callable[[], Any] = reference,
) -> None:
    """Runs `work` so many times; leaves its least time, over `per`, and that of the reference around it."""
    found: list[float] = []
    references: list[float] = [_timed(beside, spent) for _ in range(3)]

    def once() -> None:
        found.append(_timed(work, clock) / per)
        references.extend(_timed(beside, spent) for _ in range(3))

    benchmark.pedantic(once, rounds=1 if benchmark.disabled else rounds, iterations=1)
    benchmark.extra_info |= {"cpu_s": min(found), "reference_s": min(references)}
    if not benchmark.disabled:
        print(
            f"\n{benchmark.name}: {min(found) * 1e3:.3g} ms, {min(found) / min(references):.3g} × reference"
        )


def _timed(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start

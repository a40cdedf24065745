"""The outputs of each unquantized model on each text, made once, before the cells."""

from __future__ import annotations

import json
from collections.abc import Iterable

from qbench.run.pool import Job, Pool
from qbench.suite.cell import Cell


def keep_base_outputs(pool: Pool, cells: Iterable[Cell]) -> list[str]:
    """One worker for each model, dtype, device and text; returns a line for each that failed.

    A worker that finds the outputs kept ends at once. Where one fails, the cells say that they have nothing
    to measure divergence from, and are measured all the same.
    """
    wanted: dict[str, Cell] = {}
    for cell in cells:
        if cell.quality and cell.quality.get("divergence") and cell.method != "saved":
            wanted.setdefault(_key(cell), cell)
    return [problem for cell in wanted.values() if (problem := _run(pool, cell))]


def _key(cell: Cell) -> str:
    identity = cell.identity()
    same = {name: identity[name] for name in ("model", "dtype", "device", "quality", "threads")}
    return json.dumps(same, sort_keys=True)


def _run(pool: Pool, cell: Cell) -> str | None:
    job = pool.start({"kind": "base", "cell": cell.to_dict()}, cell.timeout_s)
    problem = None
    while job.exit_code is None:
        pool.wait()
        problem = _hear(job) or problem
    problem = _hear(job) or problem
    if job.exit_code == 0 and not problem:
        return None
    ended = f"stopped after {cell.timeout_s:g} s" if job.timed_out else f"died with {job.exit_code}"
    what = f"{cell.model.name}, {cell.dtype}: no outputs of the unquantized model to diverge from"
    return f"{what}: {problem or ended}"


def _hear(job: Job) -> str | None:
    problem = None
    while job.events:
        event = job.events.popleft()
        if event["event"] == "error":
            problem = f"{event['type']}: {event['message']}"
    return problem

"""The outputs of each unquantized model on each text, made once, before the cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from qbench.cell import Cell
from qbench.probes.quality.section import QualitySettings
from qbench.run.executors.local.pool import Job, Pool


def keep_base_outputs(
    pool: Pool,
    cells: Iterable[Cell],
    planned: Iterable[Cell] = (),
    made_from: Mapping[str, str] | None = None,
) -> list[str]:
    """One worker for each model, dtype, device and text of `cells`; returns a line for each that failed.

    A worker that finds the outputs kept ends at once. Where one fails, the cells say that they have nothing
    to measure divergence from, and are measured all the same. A cell of a quantized checkpoint knows its
    unquantized model only by hash (`made_from`): a cell among `planned`, done ones included, that runs on
    these very weights lends it. Where there is none, there is no base.
    """
    known = made_from or {}
    lenders = {_lent_key(cell, cell.model.weights): cell for cell in planned if cell.method != "saved"}
    wanted: dict[str, Cell] = {}
    for cell in cells:
        quality = QualitySettings.of(cell)
        if not (quality and quality.divergence):
            continue
        weights = known.get(cell.model.weights, "")
        base = lenders.get(_lent_key(cell, weights)) if cell.method == "saved" else cell
        if base is not None:
            wanted.setdefault(_key(base), base)
    return [problem for cell in wanted.values() if (problem := _run(pool, cell))]


def _key(cell: Cell) -> str:
    return json.dumps([cell.identity()["model"], _lent_key(cell, cell.model.weights)], sort_keys=True)


def _lent_key(cell: Cell, weights: str) -> str:
    """Equal where the outputs of these unquantized weights are what the cell diverges from."""
    identity = cell.identity()
    same = {name: identity[name] for name in ("dtype", "device", "quality", "threads")}
    return json.dumps([weights, same], sort_keys=True)


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

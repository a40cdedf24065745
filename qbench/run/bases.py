"""Outputs of each unquantized model on each text, kept once, before the cells are measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from qbench.cell import Cell
from qbench.probes.quality.section import QualitySettings
from qbench.run.executors.driver import run_alone
from qbench.run.executors.executor import Capability, Executor, Job
from qbench.run.executors.running_cell import RunningCell
from qbench.run.executors.state import State
from qbench.run.worker.requests import KeepBaseOutputs


def keep_base_outputs(
    executor: Executor,
    cells: Iterable[Cell],
    planned: Iterable[Cell] = (),
    made_from: Mapping[str, str] | None = None,
) -> list[str]:
    """Runs a job for each model, dtype, device and text of `cells`; returns a line for each that failed.

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
    if wanted and Capability.SHARED_CACHE not in executor.capabilities:
        return [f"executor {executor.name}: its jobs share no cache, so there is nothing to diverge from"]
    return [problem for cell in wanted.values() if (problem := _run(executor, cell))]


def _key(cell: Cell) -> str:
    return json.dumps([cell.identity()["model"], _lent_key(cell, cell.model.weights)], sort_keys=True)


def _lent_key(cell: Cell, weights: str) -> str:
    """Equal where the outputs of these unquantized weights are what the cell diverges from."""
    identity = cell.identity()
    same = {name: identity[name] for name in ("dtype", "device", "quality", "threads")}
    return json.dumps([weights, same], sort_keys=True)


def _run(executor: Executor, cell: Cell) -> str | None:
    job = Job(KeepBaseOutputs(cell.to_dict()), cell.timeout_s, cell.device)
    running = RunningCell(job, cell=cell)
    run_alone(executor, running)
    ended = running.ending
    assert ended is not None
    if running.state is State.ENDED and ended.exit_code == 0:
        return None
    failure = running.failure
    how = f"stopped after {cell.timeout_s:g} s" if ended.timed_out else f"died with {ended.exit_code}"
    problem = f"{failure.type}: {failure.message}" if failure else how
    return f"{cell.model.name}, {cell.dtype}: no outputs of the unquantized model to diverge from: {problem}"

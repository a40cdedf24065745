"""A baseline as text for a terminal: its environment, its acceptances with their reasons, and its cells."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qbench.gate.baseline.baseline import Acceptance, Baseline
from qbench.gate.baseline.baseline_cell import BaselineCell
from qbench.report.view.digits import significant
from qbench.results.table.columns import columns, usual

SHOWN = tuple(column.name for column in usual("markdown") if column.kind == "deterministic")
"""Values in the table; the file holds all of them."""
_FACTS = ("cpu.model", "threads", "packages.torch", "packages.transformers", "gpus.0.name")


def drawn(found: Baseline, file: str) -> Group:
    """The baseline as rich text, ready to print; texts of the file are literal."""
    facts = [f"{key} {found.environment[key]}" for key in _FACTS if found.environment.get(key)]
    lines = [Text(f"{found.suite}: {file}", style="bold"), Text(", ".join(facts))]
    lines += [Text(_line(one)) for one in reversed(found.acceptances)]
    return Group(*lines, _rows(list(found.cells.values())))


def _line(one: Acceptance) -> str:
    commit = f", commit {one.commit[:12]}" if one.commit else ""
    return f"{one.accepted_at}  {one.run}{commit}: {one.reason}"


def _rows(cells: list[BaselineCell]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Cell", overflow="fold")
    for name in SHOWN:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Kernels", overflow="fold")
    for cell in cells:
        kernels = {run.split(" ")[0] for layer in cell.layers.values() for run in layer.kernels.split(", ")}
        last = ", ".join(sorted(kernels)) if cell.status == "ok" else f"{cell.status}: {cell.reason}"
        table.add_row(Text(cell.cell), *(Text(_value(cell, name)) for name in SHOWN), Text(last))
    return table


def _value(cell: BaselineCell, name: str) -> str:
    value = cell.values.get(name)
    return "–" if value is None else significant(value, columns()[name].digits)

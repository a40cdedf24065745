"""The dictionary of every frame's columns, as `docs/columns.md`:

python -m qbench.results.frames.dictionary > docs/columns.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qbench.results.columns.column import Column
from qbench.results.frames.layer_frame import LAYER_COLUMNS
from qbench.results.frames.sample_frame import SAMPLE_COLUMNS, quantities
from qbench.results.table.columns import columns

TABLES: dict[str, tuple[str, str, Mapping[str, Column]]] = {
    "cells": ("qbench.load", "A row per cell, failures included.", columns()),
    "samples": ("qbench.samples", "A row per raw number; a cell has hundreds.", SAMPLE_COLUMNS),
    "layers": ("qbench.layers", "A row per cell and quantized layer.", LAYER_COLUMNS),
}
"""Table → the function that gives it, what a row is, its columns in order."""

_HEAD = """# Columns

Made by `python -m qbench.results.frames.dictionary > docs/columns.md`; a test holds it equal to the code.
Units stand in `frame.attrs["units"]` and in the fields of Parquet files (`qbench export RESULTS -o x.parquet
--table samples`). Null means that there is no number; in the table of cells the column `missing` says why.

Analyses to begin with stand in docs/examples: the choice under a memory budget, method × bits, paired
differences.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for name, (function, row, known) in TABLES.items():
        parts.append(f"\n## `{function}()`: table `{name}`\n\n{row}\n\n")
        parts.append(_table(("column", "unit", "dtype", "what"), map(_line, known.values())))
    lines = [(f"`{probe}`", f"`{quantity}`", what) for (probe, quantity), what in quantities().items()]
    parts.append(f"\n### Quantities of samples\n\n{_table(('probe', 'quantity', 'what'), lines)}")
    return "".join(parts)


def _line(column: Column) -> tuple[str, ...]:
    return f"`{column.name}`", column.unit, column.dtype, column.description


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(part.replace('|', '&#124;') for part in line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page(), end="")

"""Choice and order of the frame's rows, as the command line names them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from qbench.errors import ResultsError, did_you_mean
from qbench.results.columns.column import Column, Row
from qbench.results.table.columns import columns
from qbench.suite.rules import chosen

_BY_NAME = ("suite", "run", "cell_id", "status", "model", "method", "label", "dtype", "device", "runtime")
"""Columns that `--filter` knows beside the parameters of methods; `repetition` too."""


def column_of(name: str) -> Column:
    """ResultsError with near names where the frame has no such column."""
    if name not in columns():
        raise ResultsError(f"no column {name!r}; {did_you_mean(name, columns())}")
    return columns()[name]


def sorted_by(rows: Sequence[Row], word: str) -> list[Row]:
    """Rows sorted by the column that `word` names, largest first after a `-`; rows without a value last."""
    name, descending = word.removeprefix("-"), word.startswith("-")
    if name not in columns():
        raise ResultsError(f"cannot sort by {name!r}; {did_you_mean(name, columns())}")
    present = [row for row in rows if row[name] is not None]
    absent = [row for row in rows if row[name] is None]
    return [*sorted(present, key=lambda row: row[name], reverse=descending), *absent]


def that_fit(rows: Sequence[Row], rules: Sequence[Mapping[str, list[str]]]) -> list[Row]:
    """Rows that match at least one rule, all without one; ResultsError for a rule without a match.

    A rule is that of `qbench run --filter`: keys are columns of names, or parameters of methods; values are
    texts or patterns.
    """
    return [rows[place] for place in chosen([_facts(row) for row in rows], rules, ResultsError)]


def _facts(row: Row) -> dict[str, object]:
    own = {name: row[name] for name in (*_BY_NAME, "repetition") if row[name] is not None}
    return {**json.loads(row["params"]), **own}

"""Rows of the frame chosen, ordered and put into words, for outputs of text: a terminal, Markdown.

A column has the digits of the page: as many as its interval supports, one unit for all rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qbench.errors import ResultsError, did_you_mean
from qbench.report.view.cells import Row, number_text, scale_of
from qbench.report.view.digits import Scale
from qbench.report.view.display_columns import Shown, shown_as
from qbench.results.table.columns import columns
from qbench.suite.rules import chosen

_BY_NAME = ("suite", "run", "cell_id", "status", "model", "method", "label", "dtype", "device", "runtime")
"""Columns that `--filter` knows beside the parameters of methods; `repetition` too."""


@dataclass(frozen=True)
class Field:
    """A column of the frame as it is shown, scaled for the rows that it was made for."""

    column: Shown
    scale: Scale

    def text(self, row: Row) -> tuple[str, str]:
        """The value, and the spread to print after it (see `with_interval`); `–` for null."""
        value = row[self.column.name]
        if value is None:
            return "–", ""
        return number_text(row, self.column, self.scale) if self.column.number else (str(value), "")


def field_of(name: str, rows: Iterable[Row]) -> Field:
    """ResultsError with near names where the frame has no such column."""
    if name not in columns():
        raise ResultsError(f"no column {name!r}; {did_you_mean(name, columns())}")
    column = shown_as(name)
    return Field(column, scale_of(column, rows) if column.number else Scale())


def sorted_by(rows: Sequence[Row], word: str) -> list[Row]:
    """By the column that `word` names, largest first after a `-`; rows without a value last."""
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

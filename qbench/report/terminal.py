"""The table for a terminal: few columns, failures with their reason; `qbench show` and the end of a run.

What does not fit into the terminal's width is left out from the right, and named under the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from qbench.report.context import plain_rows
from qbench.report.rows import Field, Row, field_of, sorted_by, that_fit
from qbench.report.shown import DIMENSIONS

COLUMNS = (
    "bits_per_weight",
    "perplexity",
    "perplexity_ratio",
    "weight_bytes",
    "prefill_s",
    "decode_s_per_token",
    "kl_divergence",
    "top1_agreement",
    "task_accuracy",
    "peak_memory_bytes",
    "energy_j_per_token",
    "quantize_s",
)
"""The usual ones, the most telling first: the last are the first to go where there is no room."""
_WITH_SPREAD = ("perplexity_ratio",)
_COLOURS = {"ok": "green", "failed": "red", "oom": "red", "timeout": "yellow", "skipped": "bright_black"}
_FEWEST = 2
"""Columns that stay however narrow it is."""
_GAP = 2
_LEAST_NAME = 16
_STATUS = 7
"""Characters of the longest status."""
_MOST_FAILURES = 20


@dataclass(frozen=True)
class Wanted:
    """What `qbench show` was asked for."""

    filters: Sequence[Mapping[str, list[str]]] = ()
    sort: str | None = None
    columns: Sequence[str] = ()
    """None: the usual ones, as many as there is room for."""


@dataclass(frozen=True)
class Listing:
    """Rows and fields, which rich draws in the width that it has."""

    rows: list[Row]
    fields: list[Field]
    varying: dict[str, str]
    """Dimensions that differ between the rows: frame name → title."""
    constant: dict[str, str]
    chosen: bool
    """Whether the reader named the columns."""
    problems: list[str] = field(default_factory=list)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = _widest(["Method", *(_name(row) for row in self.rows)])
        fields = self.fields if self.chosen else self._fitting(options.max_width - names)
        if len(fields) < len(self.fields):  # long names take two lines before a number goes
            names = min(names, max(_LEAST_NAME, options.max_width * 2 // 5))
            fields = self._fitting(options.max_width - names)
        yield self._table(fields, names) if self.rows else Text("No cell has finished yet.")
        yield self._caption([one.title for one in self.fields[len(fields) :]])

    def _fitting(self, width: int) -> list[Field]:
        """As many fields as fit beside the names."""
        for name, title in self.varying.items():
            width -= _GAP + _widest([title, *(str(row[name] or "–") for row in self.rows)])
        width -= _GAP + _STATUS if self._with_status else 0
        kept = 0
        for one in self.fields:
            texts = [*_head(one).plain.split("\n"), *(_number(row, one).plain for row in self.rows)]
            width -= _GAP + _widest(texts)
            if width < 0 and kept >= _FEWEST:
                break
            kept += 1
        return self.fields[:kept]

    @property
    def _with_status(self) -> bool:
        return any(row["status"] != "ok" for row in self.rows)

    def _table(self, fields: Sequence[Field], names: int) -> Table:
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        drawn.add_column("Method", overflow="fold", max_width=names)
        for title in self.varying.values():
            drawn.add_column(title, overflow="fold")
        if self._with_status:
            drawn.add_column("Status")
        for one in fields:
            drawn.add_column(
                _head(one), justify="right" if one.number else "left", no_wrap=one.number, overflow="fold"
            )
        for row in self.rows:
            status = [Text(row["status"], style=_COLOURS[row["status"]])] if self._with_status else []
            texts = (_name(row), *(str(row[name] if row[name] is not None else "–") for name in self.varying))
            drawn.add_row(*map(Text, texts), *status, *(_number(row, one) for one in fields))
        return drawn

    def _caption(self, left_out: list[str]) -> Text:
        lines = [
            Text("   ".join(f"{title}: {value}" for title, value in self.constant.items()), "bright_black")
        ]
        if left_out:
            lines.append(Text(f"No room for: {', '.join(left_out)}; --columns chooses", "bright_black"))
        lines += [*_failures(self.rows), *(Text(f"left out: {problem}", "red") for problem in self.problems)]
        return Text("\n").join([Text(), *(line for line in lines if line)])


def table(frame: pd.DataFrame, wanted: Wanted | None = None) -> Listing:
    """The frame (see `qbench.load`), ready for rich to print, with the digits of the page.

    Under it stand what all rows share and the reason of every failure. Texts from records are literal: rich
    reads no markup in them. ResultsError where a filter matches nothing or a column is unknown.
    """
    wanted = wanted or Wanted()
    rows = that_fit(plain_rows(frame), wanted.filters)
    rows = sorted_by(rows, wanted.sort) if wanted.sort else in_order(rows)
    fields = [field_of(name, rows) for name in wanted.columns or COLUMNS]
    if not wanted.columns:
        fields = [one for one in fields if any(row[one.name] is not None for row in rows)]
    constant, varying = dimensions(rows)
    varying = {name: title for name, title in varying.items() if name not in wanted.columns}
    problems = list(frame.attrs.get("problems", []))
    return Listing(rows, fields, varying, constant, bool(wanted.columns), problems)


def in_order(rows: list[Row]) -> list[Row]:
    """As on the page: by model, base first, then by bits; what failed comes last."""

    def place(row: Row) -> tuple[Any, ...]:
        where = (row["suite"], row["run"], row["model"], row["dtype"], row["device"], row["runtime"])
        worth = (row["status"] != "ok", row["method"] != "none", -(row["bits_per_weight"] or 0.0))
        return (*where, *worth, row["label"] or "")

    return sorted(rows, key=place)


def dimensions(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """Those with one value, by title; those with several, by name. Kernels are for those who ask for them."""
    constant, varying = {}, {}
    for name, title in {**DIMENSIONS, "run": "Run", "repetition": "Repetition"}.items():
        values = {row[name] for row in rows if row[name] is not None}
        if len(values) > 1 and name != "kernels":
            varying[name] = title
        elif len(values) == 1 and name not in ("repetition", "kernels"):
            constant[title] = str(values.pop())
    return constant, varying


def _failures(rows: list[Row]) -> list[Text]:
    """A line for each; those of one status and reason together."""
    failed = sorted((row for row in rows if row["status"] != "ok"), key=_why)
    lines = []
    for (status, reason), members in groupby(failed, key=_why):
        names = list(dict.fromkeys(map(_name, members)))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        lines.append(Text.assemble((status, _COLOURS[status]), f" {', '.join(names[:3])}{more}: {reason}"))
    hidden = len(lines) - _MOST_FAILURES
    return [*lines[:_MOST_FAILURES], *([Text(f"… and {hidden} other reasons")] if hidden > 0 else [])]


def _why(row: Row) -> tuple[str, str]:
    return row["status"], row["reason"] or "no reason was recorded"


def _name(row: Row) -> str:
    return str(row["label"] or row["method"])


def _head(one: Field) -> Text:
    arrow = {"lower": "↓", "higher": "↑"}.get(one.direction, "")
    title = one.title.replace("Bits per weight", "Bits")
    return Text(f"{title}\n{one.scale.unit} {arrow}".rstrip())


def _number(row: Row, one: Field) -> Text:
    text, spread = one.text(row)
    drawn = Text(text)
    if spread and one.name in _WITH_SPREAD:
        drawn.append(f" {spread}", style="bright_black")
    return drawn


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts))

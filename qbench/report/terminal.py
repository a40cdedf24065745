"""The table at the end of a run, for a terminal: few columns, failures with their reason."""

from __future__ import annotations

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from qbench.report.context import plain_rows
from qbench.report.table import CellView, Head, build_table
from qbench.report.table import Table as View

COLUMNS = (
    "bits_per_weight",
    "perplexity",
    "perplexity_ratio",
    "weight_bytes",
    "prefill_s",
    "decode_s_per_token",
)
_WITH_SPREAD = ("perplexity_ratio",)
_COLOURS = {"ok": "green", "failed": "red", "oom": "red", "timeout": "yellow", "skipped": "bright_black"}


def table(frame: pd.DataFrame) -> Group:
    """The frame (see `qbench.load`) as a rich table with the digits of the page, ready to print.

    Under it stand what all rows share and the reason of every failure. Texts from records are literal: rich
    reads no markup in them.
    """
    view = build_table(plain_rows(frame))
    return Group(_rows(view), _caption(view))


def _rows(view: View) -> Table:
    places = [place for place, head in enumerate(view.heads) if head.name in COLUMNS]
    with_status = any(row.status != "ok" for row in view.rows)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("Method", overflow="fold")
    for title in view.dimensions.values():
        drawn.add_column(title, overflow="fold")
    if with_status:
        drawn.add_column("Status")
    for place in places:
        drawn.add_column(_head(view.heads[place]), justify="right", no_wrap=True)
    for row in view.rows:
        status = [Text(row.status, style=_COLOURS[row.status])] if with_status else []
        numbers = [_number(row.cells[place], view.heads[place]) for place in places]
        drawn.add_row(Text(row.label), *map(Text, row.dimensions), *status, *numbers)
    return drawn


def _caption(view: View) -> Text:
    shared = "   ".join(f"{title}: {value}" for title, value in view.constant.items())
    failures = [
        Text.assemble(
            (row.status, _COLOURS[row.status]), f" {row.label}: {row.reason or 'no reason was recorded'}"
        )
        for row in view.rows
        if row.status != "ok"
    ]
    return Text("\n").join([Text(f"\n{shared}", style="bright_black"), *failures])


def _head(head: Head) -> Text:
    arrow = {"lower": "↓", "higher": "↑"}.get(head.direction, "")
    title = head.title.replace("Bits per weight", "Bits")
    return Text(f"{title}\n{head.unit} {arrow}".rstrip())


def _number(cell: CellView, head: Head) -> Text:
    text = Text(cell.text, style="bold green" if cell.best else "")
    if cell.spread and head.name in _WITH_SPREAD:
        text.append(f" ± {cell.spread}", style="bright_black")
    return text

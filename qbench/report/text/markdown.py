"""The leaderboard as Markdown, for a comment on a pull request: the answer first, a compact table, what
failed, and the environment folded away. It never grows beyond what a comment holds and says what it left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from qbench import __version__
from qbench.report.text.markdown_text import LIMIT, bullets, cut_note, details, escaped, table
from qbench.report.text.sanitize import plain_name
from qbench.report.view.cells import LONGEST_REASON, Field
from qbench.report.view.context import View, build_view, plain_rows
from qbench.report.view.facts import Environment, Manifests
from qbench.report.view.names import short
from qbench.report.view.table import KERNELS, ordered, table_view
from qbench.results.columns.column import Row
from qbench.results.frames.frame import from_store
from qbench.results.store.folders import Store
from qbench.results.table.columns import columns, usual

_ANSWERS, _PROBLEMS, _FAILURES, _ENVIRONMENT = 12_000, 4_000, 10_000, 8_000
"""Characters at most; the table has what they leave, and that is more than a third."""
_RUNS = 10
"""Whose environment stands in the text."""
_GAP = 1_500
"""For notes and headings."""


def read_markdown(results: str | Path, runs: Literal["newest", "all"] = "newest") -> str:
    """The text for a tree of results. Files that cannot be read are named in it; ResultsError where there is
    no run at all."""
    store = Store(Path(results), strict=False)
    frame = from_store(store, runs)
    manifests = {run.name: store.manifest(run) for run in store.chosen(runs)}
    frame.attrs["problems"] = list(store.problems)
    return markdown(frame, manifests)


def markdown(frame: pd.DataFrame, manifests: Manifests | None = None) -> str:
    """The leaderboard of a frame (see `qbench.load`) as Markdown; at most `LIMIT` characters."""
    view, rows = build_view(frame, manifests or {}), ordered(plain_rows(frame))
    before = [_head(view), _answers(view), _problems(view)]
    after = [_failures(rows), _environments(view.environments)]
    room = LIMIT - _GAP - sum(map(len, (*before, *after)))
    parts = [*before, _numbers([row for row in rows if row["status"] == "ok"], room), *after]
    return "\n".join(part for part in parts if part)


def _head(view: View) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in view.counts.items()) or "no cell yet"
    facts = [f"**{name}** {escaped(value)}" for name, value in view.facts.items() if name != "Runs"]
    line = " · ".join([*facts, f"**Cells** {counts}"])
    return f"### qbench: {escaped(view.title, 100)}\n\n{line}\n"


def _answers(view: View) -> str:
    if not view.groups:
        return "The run has stored no cell yet.\n"
    if len(view.groups) == 1:
        return f"> {escaped(view.groups[0].sentence, 2_000)}\n"
    lines = [f"**{escaped(group.title)}**: {escaped(group.sentence, 2_000)}" for group in view.groups]
    text, left = bullets(lines, _ANSWERS)
    return text + cut_note(left, "answers are")


def _problems(view: View) -> str:
    if not view.problems:
        return ""
    text, left = bullets([escaped(problem) for problem in view.problems], _PROBLEMS)
    count = f"{len(view.problems)} file{'s' * (len(view.problems) > 1)}"
    return f"**{count} could not be read and left out:**\n\n{text}{cut_note(left, 'are')}"


def _numbers(rows: list[Row], room: int) -> str:
    """The table of what finished; dimensions and columns that tell nothing are left out."""
    if not rows:
        return ""
    view = table_view(rows, usual("markdown"))
    fields = view.usual("markdown")
    varying = view.short_varying
    heads = ["Method", *varying.values(), *map(_title, fields)]
    body = [
        [escaped(short(row["label"] or row["method"]), 80), *(escaped(row[name], 60) for name in varying),
         *(one.line(row) for one in fields)]
        for row in rows
    ]  # fmt: skip
    constant = {name: value for name, value in view.constant.items() if name not in ("run", KERNELS)}
    said = (f"{columns()[name].title}: {escaped(plain_name(value))}" for name, value in constant.items())
    shared = " · ".join(said)
    shared = f"\n<sub>{shared}</sub>\n" if shared else ""
    room -= len(shared)
    text, left = table(heads, [False] * (1 + len(varying)) + [True] * len(fields), body, room)
    return text + cut_note(left, f"of {len(rows)} rows are") + shared


def _title(one: Field) -> str:
    return " ".join(filter(None, (one.column.head, one.scale.unit, one.column.arrow)))


def _failures(rows: Sequence[Row]) -> str:
    failed = [row for row in rows if row["status"] != "ok"]
    if not failed:
        return ""
    lines = [
        f"**{row['status']}** {escaped(_where(row))}: {escaped(_why(row), LONGEST_REASON)}" for row in failed
    ]
    text, left = bullets(lines, _FAILURES)
    return f"**{len(failed)} did not finish:**\n\n{text}{cut_note(left, 'failures are')}"


def _where(row: Row) -> str:
    name = short(row["label"] or row["method"])
    return " ".join((row["model"], name, row["dtype"], row["device"]))


def _why(row: Row) -> str:
    return str(row["reason"] or "no reason was recorded")


def _environments(environments: Sequence[Environment]) -> str:
    parts = list[str]()
    room = _ENVIRONMENT
    for one in environments:
        rows = [[escaped(name, 80), escaped(value, 160)] for name, value in one.facts.items()]
        text, left = table(["", escaped(one.run)], [False, False], rows, room)
        room = max(0, room - len(text))
        parts.append(text + cut_note(left, "facts are"))
    body = "\n".join(parts[:_RUNS]) + cut_note(len(parts) - _RUNS if len(parts) > _RUNS else 0, "runs are")
    return details(f"Environment; report drawn by qbench {escaped(__version__)}", body) if parts else ""

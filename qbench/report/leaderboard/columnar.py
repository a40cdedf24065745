"""The leaderboard as a block of JSON by columns, for `view.js`: every column that holds anything, all rows.

Numbers come twice: as measured, to sort, to filter and to download by, and as the text that a reader sees,
because digits are decided in one place (`cells.py`). A list with few distinct values is written as those and
their places, so that ten thousand rows stay a few megabytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any

from qbench.json_object import JsonObject
from qbench.report.view.best import find_best
from qbench.report.view.cells import LONGEST, LONGEST_REASON, Field, cut, parameters, reason_of
from qbench.report.view.digits import has_steps
from qbench.report.view.names import short
from qbench.report.view.table import KERNELS, TableView, field_of, filters
from qbench.results.columns.column import GROUPS, Column, Row
from qbench.results.table.columns import columns

Packed = list[Any] | dict[str, list[Any]]


def column_data(view: TableView, column: Column) -> JsonObject:
    """`values` as measured (a text cut where it is long), `texts` what is shown of a number in the unit of
    its column, `alone` by row in a unit of its own where that is another, `reasons` why it is null; parts
    without anything are left out."""
    values = [row[column.name] for row in view.rows]
    found: JsonObject = {"values": packed(_values(column, values))}
    if column.number:
        field = view.fields[column.name]
        found["texts"] = packed(_texts(field, view.rows))
        found["alone"] = _alone(field, view.rows)
    if None in values:
        pairs = zip(view.rows, values, strict=True)
        found["reasons"] = packed(
            [reason_of(row, column.name) if value is None else None for row, value in pairs]
        )
    return {part: made for part, made in found.items() if made}


def best_places(view: TableView) -> dict[str, list[int]]:
    """Column → places of the marked rows."""
    found: dict[str, list[int]] = {}
    numbers = [one.column for one in view.fields.values() if one.column.number]
    for index, name in sorted(find_best(view.rows, numbers)):
        found.setdefault(name, []).append(index)
    return found


def assembled(
    view: TableView, made: Mapping[str, Mapping[str, Any]], best: Mapping[str, list[int]]
) -> JsonObject:
    """Data that `view.js` reads: each part of `column_data` by column, and facts that all columns share."""
    rows, shared = view.rows, _shared_conditions(view.rows)
    return {
        "rows": len(rows),
        "groups": GROUPS,
        "columns": [_head(one, shared) for one in view.fields.values()],
        "defaults": _defaults(view),
        "filters": list(filters(view)),
        "labels": packed([cut(row["label"] or row["method"]) for row in rows]),
        "names": packed([cut(short(row["label"] or row["method"])) for row in rows]),
        "keys": [f"{row['run']}/{row['cell_id']}" for row in rows],
        **{
            part: {name: parts[part] for name, parts in made.items() if part in parts}
            for part in ("values", "texts", "alone", "reasons")
        },
        "best": best,
    }


def packed(values: Sequence[Hashable]) -> Packed:
    """The list itself, or `{"of": distinct, "at": places}` where at most half are distinct."""
    places: dict[Hashable, int] = {}
    at = [places.setdefault(value, len(places)) for value in values]
    return {"of": list(places), "at": at} if 2 * len(places) <= len(values) else list(values)


def _defaults(view: TableView) -> list[str]:
    """Names of the columns shown by default: dimensions that differ, numbers, and the long kernels last."""
    first = list(view.short_varying)
    if not any(row["status"] == "ok" for row in view.rows):  # the reasons are what there is
        first.append("reason")
    numbers = [one.column.name for one in view.usual("page")]
    return [*first, *numbers, *(name for name in view.varying if name == KERNELS)]


def _head(field: Field, shared: Callable[[Column], str]) -> JsonObject:
    column = field.column
    found = {
        "name": column.name, "title": column.head, "group": column.group, "number": column.number,
        "factor": field.scale.factor, "unit": field.scale.unit, "raw_unit": column.shown_unit,
        "direction": column.direction, "protocol": shared(column), "description": column.explanation,
        "low": column.low, "high": column.high, "least": column.least, "most": column.most,
        "stderr": column.stderr,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value not in ("", None)}


_IN_WORDS: dict[str, Callable[[Any], str]] = {
    "perplexity_protocol": lambda protocol: ", ".join(protocol.split(", ")[:2]),
    "prompt_length": lambda count: f"{count} tokens",
    "generated_tokens": lambda count: f"{count} tokens",
    "batch_size": lambda size: f"batch {size}" if size != 1 else "",
}
"""Conditions of measuring in few words."""


def _shared_conditions(rows: list[Row]) -> Callable[[Column], str]:
    """Returns the conditions of a column in few words, as far as all rows share them."""

    @functools.cache
    def said(name: str) -> str:
        found = {row[name] for row in rows if row[name] is not None}
        return _IN_WORDS.get(name, str)(found.pop()) if len(found) == 1 else ""

    def words(column: Column) -> str:
        first, *others = map(said, column.conditions) if column.conditions else ("",)
        return ", ".join([first, *filter(None, others)]) if first else ""

    return words


def _values(column: Column, values: list[Any]) -> list[Any]:
    """Numbers as they are; texts cut where they are long."""
    if column.number:
        return values
    as_text = _TEXTS.get(column.name, str)
    longest = LONGEST_REASON if column.name == "reason" else LONGEST
    return [None if value is None else cut(as_text(value), longest) for value in values]


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


_TEXTS: dict[str, Callable[[Any], str]] = {
    "params": lambda params: ", ".join(parameters(params)),
    "started_at": _moment,
    "ended_at": _moment,
}


def _texts(field: Field, rows: list[Row]) -> list[str | None]:
    """`1.021 ± 0.004`; None where there is no number. The same numbers are worded once."""
    column = field.column
    number = columns()[column.of] if column.of else column
    names = (column.name, number.name, *number.companions)
    known: dict[tuple[Any, ...], str] = {}
    found: list[str | None] = []
    for row in rows:
        if row[column.name] is None:
            found.append(None)
            continue
        numbers = tuple([row[name] for name in names])
        if numbers not in known:
            known[numbers] = field.line(row)
        found.append(known[numbers])
    return found


def _alone(field: Field, rows: list[Row]) -> dict[int, list[str]]:
    """Place of a row → text and unit, of numbers that another unit than their column's suits better."""
    column, found = field.column, dict[int, list[str]]()
    number = column.of or column.name
    if not has_steps(column.unit):
        return found
    for place, row in enumerate(rows):
        if (
            row[column.name] is None
            or row[number] is None
            or 1 <= abs(row[number]) / field.scale.factor < 1000
        ):
            continue
        own = field_of(column, [row])
        if row[number] and own.scale != field.scale:
            found[place] = [own.line(row), own.scale.unit]
    return found

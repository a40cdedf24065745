"""The leaderboard as a block of JSON by columns, for `view.js`: every column that holds anything, all rows.

Numbers come twice: as measured, to sort, to filter and to download by, and as the text that a reader sees,
because digits are decided in one place (`cells.py`). A list with few distinct values is written as those and
their places, so that ten thousand rows stay a few megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qbench.report.view.best import find_best
from qbench.report.view.cells import (
    LONGEST,
    LONGEST_REASON,
    Row,
    cut,
    number_text,
    parameters,
    reason_of,
    scale_of,
)
from qbench.report.view.digits import Scale, has_steps
from qbench.report.view.display_columns import GROUPS, SHOWN, Shown, catalogue
from qbench.report.view.names import short
from qbench.report.view.table import filters, ordered, split_dimensions

Packed = list[Any] | dict[str, list[Any]]
_LATENCY = ("prompt_length", "generated_tokens", "batch_size")


@dataclass(frozen=True)
class Sheet:
    """What every column of the table is made from."""

    rows: list[Row]
    """In the table's order."""
    varying: Mapping[str, str]
    """Dimensions that differ between rows: name → title."""
    present: list[Shown]
    """Columns that hold anything."""
    scales: dict[str, Scale]
    """Of the numbers among them."""

    @property
    def numbers(self) -> list[Shown]:
        return [column for column in self.present if column.number]


def sheet_of(rows: list[Row]) -> Sheet:
    """`rows` are the frame's (as dicts, nulls as None)."""
    rows = ordered(rows)
    present = [column for column in catalogue().values() if any(row[column.name] is not None for row in rows)]
    scales = {column.name: scale_of(column, rows) for column in present if column.number}
    return Sheet(rows, split_dimensions(rows)[1], present, scales)


def column_data(sheet: Sheet, column: Shown) -> dict[str, Any]:
    """`values` as measured (a text cut where it is long), `texts` what is shown of a number in the unit of
    its column, `alone` by row in a unit of its own where that is another, `reasons` why it is null; parts
    without anything are left out."""
    values = [row[column.name] for row in sheet.rows]
    found: dict[str, Any] = {"values": packed(_values(column, values))}
    if column.number:
        scale = sheet.scales[column.name]
        found["texts"] = packed(_texts(column, scale, sheet.rows))
        found["alone"] = _alone(column, scale, sheet.rows)
    if None in values:
        pairs = zip(sheet.rows, values, strict=True)
        found["reasons"] = packed(
            [reason_of(row, column.name) if value is None else None for row, value in pairs]
        )
    return {part: made for part, made in found.items() if made}


def best_places(sheet: Sheet) -> dict[str, list[int]]:
    """Column → places of the marked rows."""
    found: dict[str, list[int]] = {}
    for index, name in sorted(find_best(sheet.rows, sheet.numbers)):
        found.setdefault(name, []).append(index)
    return found


def assembled(
    sheet: Sheet, columns: Mapping[str, Mapping[str, Any]], best: Mapping[str, list[int]]
) -> dict[str, Any]:
    """What `view.js` reads: of every part of `column_data` the columns that have it, and what all share."""
    rows, present = sheet.rows, sheet.present
    shared = _shared_protocol(rows)
    return {
        "rows": len(rows),
        "groups": GROUPS,
        "columns": [_head(column, sheet.scales.get(column.name, Scale()), shared) for column in present],
        "defaults": _defaults(sheet.varying, {column.name for column in present}, rows),
        "filters": list(filters(rows, dict(sheet.varying))),
        "labels": packed([cut(row["label"] or row["method"]) for row in rows]),
        "names": packed([cut(short(row["label"] or row["method"])) for row in rows]),
        "keys": [f"{row['run']}/{row['cell_id']}" for row in rows],
        **{
            part: {name: made[part] for name, made in columns.items() if part in made}
            for part in ("values", "texts", "alone", "reasons")
        },
        "best": best,
    }


def table_data(rows: list[Row]) -> dict[str, Any]:
    """All of it, of the frame's rows."""
    sheet = sheet_of(rows)
    columns = {column.name: column_data(sheet, column) for column in sheet.present}
    return assembled(sheet, columns, best_places(sheet))


def packed(values: Sequence[Hashable]) -> Packed:
    """The list itself, or `{"of": distinct, "at": places}` where at most half are distinct."""
    places: dict[Hashable, int] = {}
    at = [places.setdefault(value, len(places)) for value in values]
    return {"of": list(places), "at": at} if 2 * len(places) <= len(values) else list(values)


def _defaults(varying: Mapping[str, str], present: set[str], rows: list[Row]) -> list[str]:
    """What differs, then the numbers, and the kernels last: they are long."""
    finished = any(row["status"] == "ok" for row in rows)
    numbers = [column.name for column in SHOWN if finished and column.name in present]
    first = [name for name in varying if name != "kernels"]
    if not finished:  # the reasons are what there is
        first.append("reason")
    return [*first, *numbers, *(["kernels"] if "kernels" in varying else [])]


def _head(column: Shown, scale: Scale, shared: Callable[[str], str]) -> dict[str, Any]:
    found = {
        "name": column.name,
        "title": column.title,
        "group": column.group,
        "number": column.number,
        "factor": scale.factor,
        "unit": scale.unit,
        "raw_unit": column.unit,
        "direction": column.direction,
        "protocol": shared(column.name),
        "description": column.description,
        "low": column.low,
        "high": column.high,
        "least": column.least,
        "most": column.most,
        "stderr": column.stderr,
    }
    return {name: value for name, value in found.items() if value not in ("", None)}


def _shared_protocol(rows: list[Row]) -> Callable[[str], str]:
    """How a column was measured, in few words, where that is the same for all rows."""

    def only(name: str) -> Any:
        found = {row[name] for row in rows if row[name] is not None}
        return found.pop() if len(found) == 1 else None

    protocol = only("perplexity_protocol")
    quality = ", ".join(protocol.split(", ")[:2]) if protocol else ""
    prompt, generated, batch = map(only, _LATENCY)
    times = f", batch {batch}" if batch and batch != 1 else ""

    def words(name: str) -> str:
        if name.startswith(("perplexity", "kl_", "top1_", "nll_")) and name != "perplexity_protocol":
            return quality
        if name.startswith("prefill_"):
            return f"{prompt} tokens{times}" if prompt else ""
        if name.startswith("decode_"):
            return f"{generated} tokens{times}" if generated else ""
        return ""

    return words


def _values(column: Shown, values: list[Any]) -> list[Any]:
    """Numbers as they are; texts cut where they are long."""
    if column.number:
        return values
    as_text = _TEXTS.get(column.name, str)
    longest = LONGEST_REASON if column.name == "reason" else LONGEST
    return [None if value is None else cut(as_text(value), longest) for value in values]


def _parameters(params: str) -> str:
    return ", ".join(parameters(params))


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


_TEXTS: dict[str, Callable[[Any], str]] = {
    "params": _parameters,
    "started_at": _moment,
    "ended_at": _moment,
}


def _texts(column: Shown, scale: Scale, rows: list[Row]) -> list[str | None]:
    """`1.021 ± 0.004`; None where there is no number. The same numbers are worded once."""
    number = catalogue()[column.of] if column.of else column
    names = (column.name, number.name, *number.companions)
    known: dict[tuple[Any, ...], str] = {}
    found: list[str | None] = []
    for row in rows:
        if row[column.name] is None:
            found.append(None)
            continue
        numbers = tuple([row[name] for name in names])
        if numbers not in known:
            known[numbers] = _text(row, column, scale)
        found.append(known[numbers])
    return found


def _text(row: Row, column: Shown, scale: Scale) -> str:
    text, spread = number_text(row, column, scale)
    return f"{text} {spread}" if spread else text


def _alone(column: Shown, scale: Scale, rows: list[Row]) -> dict[int, list[str]]:
    """Place of a row → text and unit, of numbers that another unit than their column's suits better."""
    found: dict[int, list[str]] = {}
    number = column.of or column.name
    if not has_steps(column.unit):
        return found
    for place, row in enumerate(rows):
        if row[column.name] is None or row[number] is None or 1 <= abs(row[number]) / scale.factor < 1000:
            continue
        own = scale_of(column, [row])
        if row[number] and own != scale:
            found[place] = [_text(row, column, own), own.unit]
    return found

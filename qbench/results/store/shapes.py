"""Checks that a record's values have the types that qbench writes, so that readers need no checks.

Only types are compared, and long lists of numbers not at all: ten thousand records are read in two seconds.
The valid rows of types are listed beforehand, so that a record costs a few microseconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import Any

_Fields = Mapping[str, tuple[type, ...]]
"""Name → the types allowed for its value."""

_TEXT, _LIST, _OBJECT = (str,), (list,), (dict,)
_LIST_OR_NULL, _OBJECT_OR_NULL = (list, NoneType), (dict, NoneType)
_RECORD: _Fields = {
    **dict.fromkeys(("suite", "run"), _TEXT),
    "reason": (str, NoneType),
    "error": _OBJECT_OR_NULL,
    **dict.fromkeys(("phases", "environment", "model", "samples"), _OBJECT),
    "layers": _LIST,
}
_CELL: _Fields = {
    **dict.fromkeys(("method", "dtype", "device", "label", "runtime"), _TEXT),
    **dict.fromkeys(("model.name", "model.weights"), _TEXT),
    "params": _OBJECT,
    "repetition": (int,),
}
_PERPLEXITY: _Fields = {
    **dict.fromkeys(("tokens", "nll"), _LIST_OR_NULL),
    **dict.fromkeys(("corpus", "divergence"), _OBJECT_OR_NULL),
}
"""Fields of the probe's samples; an absent one is null."""
_DICT = frozenset(_OBJECT)
_UTC = ("+00:00", "Z")
_WORDS = {
    dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number",
    bool: "true or false", NoneType: "null",
}  # fmt: skip


def _right(fields: _Fields) -> frozenset[tuple[type, ...]]:
    """Every valid row of types."""
    return frozenset(itertools.product(*fields.values()))


_right_records, _right_cells = _right(_RECORD), _right(_CELL)
_right_perplexity = _right(_PERPLEXITY)
_of_record, _of_cell = attrgetter(*_RECORD), attrgetter(*_CELL)


def misfit(record: Any) -> str | None:
    """Names a value that qbench never writes, `samples.perplexity is null, not an object`; or None."""
    types = tuple(map(type, _of_record(record)))
    if types not in _right_records:
        return _first_wrong("", _RECORD, types)
    types = tuple(map(type, _of_cell(record.cell)))
    if types not in _right_cells:
        return _first_wrong("cell.", _CELL, types)
    for name, section in record.cell.sections.items():
        if type(section) is not dict:
            return _said(f"cell.{name}", type(section), _OBJECT_OR_NULL)
    return (
        _of_layers(record.layers)
        or _of_samples(record.samples)
        or _no_time("started_at", record.started_at)
        or _no_time("ended_at", record.ended_at)
    )


def _of_layers(layers: list[Any]) -> str | None:
    if _DICT.issuperset(map(type, layers)):
        return None
    place, layer = next(one for one in enumerate(layers) if type(one[1]) is not dict)
    return _said(f"layers[{place}]", type(layer), _OBJECT)


def _of_samples(samples: Mapping[str, Any]) -> str | None:
    """Checks the samples of every probe, and those of perplexity and latency one level deeper."""
    if not _DICT.issuperset(map(type, samples.values())):
        name, found = next(one for one in samples.items() if type(one[1]) is not dict)
        return _said(f"samples.{name}", type(found), _OBJECT)
    if "perplexity" in samples:
        types = tuple(map(type, map(samples["perplexity"].get, _PERPLEXITY)))
        if types not in _right_perplexity:
            return _first_wrong("samples.perplexity.", _PERPLEXITY, types)
    if "latency" in samples and type(runs := samples["latency"].get("runs")) not in _LIST_OR_NULL:
        return _said("samples.latency.runs", type(runs), _LIST_OR_NULL)
    return None


def _no_time(name: str, text: Any) -> str | None:
    """Names a time that is not ISO 8601 in UTC (texts then sort as times), or that pandas does not read."""
    try:
        if text == "" or (
            datetime.fromisoformat(text) and text[4:11:3] == "--T" and text.endswith(_UTC) and "," not in text
        ):
            return None
    except (TypeError, ValueError):  # no text; or none of a time, such as the 30th of February
        pass
    return f"{name} is {text!r:.60}, not a time in UTC as of ISO 8601 or an empty text"


def _first_wrong(where: str, fields: _Fields, types: tuple[type, ...]) -> str:
    name, found = next(
        (name, found) for name, found in zip(fields, types, strict=True) if found not in fields[name]
    )
    return _said(f"{where}{name}", found, fields[name])


def _said(where: str, found: type, wanted: tuple[type, ...]) -> str:
    return f"{where} is {_WORDS.get(found, found.__name__)}, not {' or '.join(_WORDS[one] for one in wanted)}"

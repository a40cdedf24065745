"""Problems of a suite in words: pydantic's findings as file, line, key, value and way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from qbench.errors import did_you_mean
from qbench.fields import value_text
from qbench.probes.registry import broken
from qbench.suite.positions import Document, KeyPath, Position
from qbench.suite.spec import SECTIONS, SWITCHABLE

_PLAIN = {
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "too_short": "is empty; give at least one",
}


def problems(error: ValidationError, document: Document) -> list[str]:
    """One line for each finding, in file order."""
    found = []
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":  # a consequence of another finding
            continue
        path = _path(detail["loc"])
        text = document.describe(path, _message(detail, path), at_key=detail["type"] == "extra_forbidden")
        found.append((path, text))
    return in_file_order(found, document)


def in_file_order(lines: Iterable[tuple[KeyPath, str]], document: Document) -> list[str]:
    """Messages by the place in the file that each is about."""
    return [
        text for _, text in sorted((document.place(path) or Position(0, 0), text) for path, text in lines)
    ]


def _path(loc: KeyPath) -> KeyPath:
    """pydantic's location without the tag that follows a corpus, the one union of a suite."""
    return loc[:2] + loc[3:] if loc[1:2] == ("corpus",) else loc


def _message(detail: ErrorDetails, path: KeyPath) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        unloaded = broken().get(str(path[-1])) if len(path) == 1 else None
        if unloaded:
            return f"its probe cannot be used ({unloaded.source}): {unloaded.reason}"
        return f"unknown key; {did_you_mean(path[-1], _section(path))}"
    if kind == "missing":
        return f"is missing; {_section(path)[str(path[-1])].description}"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        return f"is unknown; {did_you_mean(value, choices)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_type":
        return "should be text" + ("" if isinstance(value, list | dict | None) else "; put it in quotes")
    if kind == "list_type":
        return "should be a list" + (
            "" if isinstance(value, dict | None) else f"; write [{value_text(value)}]"
        )
    if kind in ("model_type", "dict_type"):
        return f"should be a mapping of keys to values{_mapping_hint(path, value)}"
    if kind == "string_pattern_mismatch" and path != ("name",):
        return "should be one line of text"
    if kind == "string_pattern_mismatch":
        return "use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
    return _PLAIN.get(kind) or detail["msg"].replace("Input should", "should")


def _section(path: KeyPath) -> Mapping[str, FieldInfo]:
    """The known keys around the last key of `path`."""
    return SECTIONS[_names(path[:-1])].model_fields


def _mapping_hint(path: KeyPath, value: object) -> str:
    if len(path) == 1 and path[0] in SWITCHABLE:
        return ", or true or false"
    if isinstance(value, str) and _names(path) in SECTIONS:
        return f"; write {{{next(iter(SECTIONS[_names(path)].model_fields))}: {value_text(value)}}}"
    return ""


def _names(path: KeyPath) -> tuple[str, ...]:
    return tuple(key for key in path if isinstance(key, str))

"""Choice and order of the frame's rows, as the command line names them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from qbench.errors import ResultsError, did_you_mean
from qbench.report.view.cells import Row
from qbench.results.columns.column import Column
from qbench.results.table.columns import columns

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
    found = [_facts(row) for row in rows]
    for rule in rules:
        if not any(_fits(facts, rule) for facts in found):
            raise ResultsError(_complaint(rule, found))
    pairs = zip(rows, found, strict=True)
    return [row for row, facts in pairs if not rules or any(_fits(facts, rule) for rule in rules)]


def _facts(row: Row) -> dict[str, str]:
    params = {key: _text(value) for key, value in json.loads(row["params"]).items()}
    own = {name: _text(row[name]) for name in (*_BY_NAME, "repetition") if row[name] is not None}
    return {**params, **own}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _fits(facts: Mapping[str, str], rule: Mapping[str, list[str]]) -> bool:
    return all(key in facts and _matches(facts[key], wanted) for key, wanted in rule.items())


def _matches(text: str, patterns: list[str]) -> bool:
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


def _complaint(rule: Mapping[str, list[str]], found: Sequence[Mapping[str, str]]) -> str:
    said = ",".join(f"{key}={'|'.join(wanted)}" for key, wanted in rule.items())
    for key, wanted in rule.items():
        values = {facts[key] for facts in found if key in facts}
        if not values:
            return (
                f"filter {said}: no cell has {key!r}; {did_you_mean(key, {k for one in found for k in one})}"
            )
        if not any(_matches(value, wanted) for value in values):
            return f"filter {said}: no cell has {key} {wanted[0]!r}; {did_you_mean(wanted[0], values)}"
    return f"filter {said}: each key matches some cell, but no cell matches all of them; drop a key"

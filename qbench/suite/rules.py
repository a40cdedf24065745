"""Rules and filters: which cells of a suite or of a table are meant.

A rule is a mapping; its keys are `model`, `method`, `dtype`, `device`, `runtime`, `label` and the parameters
of methods. It is read against facts, key → value as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from qbench.errors import QbenchError, SuiteError, did_you_mean
from qbench.fields import Rule, one_line, value_text
from qbench.suite.positions import KeyPath

RULE_KEYS = ("model", "method", "dtype", "device", "runtime", "label")
"""Keys of a rule besides the parameters of the method."""


def parse_filter(text: str) -> Rule:
    """`method=absmax,num_bits=4` as a rule; a key given twice matches either value. Raises SuiteError."""
    rule: Rule = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise SuiteError(
                f"filter {text!r}: {part!r} is not KEY=VALUE; write it as method=absmax,num_bits=4"
            )
        rule.setdefault(key, []).append(value)
    return rule


def chosen(
    found: Sequence[Mapping[str, object]],
    filters: Sequence[Mapping[str, Any]],
    error: type[QbenchError] = SuiteError,
) -> list[int]:
    """Places of what matches at least one filter, all without one; `error` for a filter without a match."""
    facts = [{key: written(value) for key, value in one.items()} for one in found]
    for rule in filters:
        complaint = unmatched(rule, facts)
        if complaint:
            text = ",".join(f"{key}={'|'.join(map(written, listed(value)))}" for key, value in rule.items())
            raise error(f"filter {text}: {complaint[1]}")
    return [
        place for place, fact in enumerate(facts) if not filters or any(fits(fact, rule) for rule in filters)
    ]


def unmatched(rule: Mapping[str, Any], facts: Sequence[dict[str, str]]) -> tuple[KeyPath, str] | None:
    """Reason that a rule matches no cell, with the key that fails; None where it matches one."""
    if not rule:
        return (), "an empty rule; name a key, such as {method: absmax}"
    if any(fits(fact, rule) for fact in facts):
        return None
    choices: dict[str, set[str]] = {key: set() for key in RULE_KEYS}
    for fact in facts:
        for key, text in fact.items():
            choices.setdefault(key, set()).add(text)
    for key, wanted in rule.items():
        if key not in choices:
            return (key,), f"no cell has {key!r}; {did_you_mean(key, choices)}"
        if not any(_value_matches(choice, wanted) for choice in choices[key]):
            near = did_you_mean(written(listed(wanted)[0]) if listed(wanted) else "", choices[key])
            said = repr(wanted[0]) if isinstance(wanted, list) and len(wanted) == 1 else value_text(wanted)
            return (key,), f"no cell has {key} {said}; {near}"
    return (), "each key matches some cell, but no cell matches all of them; drop a key"


def fits(facts: Mapping[str, str], rule: Mapping[str, Any]) -> bool:
    """True where every key of the rule matches; a value is a value, a pattern, or a list of either."""
    return all(key in facts and _value_matches(facts[key], wanted) for key, wanted in rule.items())


def _value_matches(text: str, wanted: object) -> bool:
    patterns = map(written, listed(wanted))
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def written(value: object) -> str:
    """A value as rules compare it: text as it is, anything else as JSON."""
    return one_line(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)

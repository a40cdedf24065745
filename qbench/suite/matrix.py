"""The matrix: models × dtypes × devices × runtimes × methods with parameters × repetitions, as `Corner`s.

    corners = expand(suite, known_methods=available())
    corners = select(corners, [parse_filter("method=absmax,num_bits=4")])

A corner is what the suite's text alone says. The runner makes a `Cell` of it: weights pinned, the
method's defaults filled in, the device resolved.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from qbench.errors import SuiteError, did_you_mean
from qbench.fields import Rule, one_line, value_text
from qbench.suite.checks import EVERY_METHOD, RULE_KEYS
from qbench.suite.positions import KeyPath
from qbench.suite.spec import MethodSpec, ModelSpec, Suite

MAX_CORNERS = 10_000


@dataclass(frozen=True)
class Corner:
    """One corner of the matrix."""

    model: ModelSpec
    dtype: str
    device: str
    """As written: `cpu`, `cuda`, `cuda:0`, or a GPU name pattern."""
    runtime: str
    """`eager` or `compile`."""
    method: str
    params: dict[str, Any]
    """As written, one value each; parameters left out are not here."""
    label: str
    repetition: int
    entry: int
    """Position in `suite.methods`: `("methods", entry)` is the path for `suite.error`."""


@dataclass(frozen=True)
class _Variant:
    method: str
    params: dict[str, Any]
    label: str
    entry: int


def expand(suite: Suite, known_methods: Iterable[str] | None = None) -> list[Corner]:
    """Every corner that the suite asks for, in file order: model, dtype, device, runtime, method, grid,
    repetition.

    `known_methods` are the names of the registry, which a method entry named `*` stands for. Raises
    SuiteError for duplicates, for a rule that matches nothing, and where nothing is left.
    """
    _check_size(suite)
    variants = _variants(suite, known_methods)
    corners = [
        Corner(
            model=model,
            dtype=dtype,
            device=device,
            runtime=runtime,
            method=variant.method,
            params=variant.params,
            label=variant.label,
            repetition=repetition,
            entry=variant.entry,
        )
        for model in suite.models
        for dtype in model.dtypes
        for device in suite.devices
        for runtime in suite.runtimes
        for variant in variants
        for repetition in range(suite.repetitions)
    ]
    kept = _apply(suite, corners)
    if not kept:
        raise suite.error((), "include and exclude leave nothing to run; loosen them")
    return kept


def matches(corner: Corner, rule: Mapping[str, Any]) -> bool:
    """Whether every key of the rule matches.

    Keys are `model`, `method`, `dtype`, `device`, `runtime`, `label` and the parameters as written in the
    suite; a parameter that the suite leaves out matches nothing. A value is a value, a pattern (`*`, `?`,
    `[…]`), or a list of which one must match; numbers and booleans compare as they are written (`4`, `0.5`,
    `true`).
    """
    return fits(_facts(corner), rule)


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


def select(corners: Sequence[Corner], filters: Sequence[Rule]) -> list[Corner]:
    """Corners that match at least one filter, all without one; SuiteError for a filter without a match."""
    return [corners[place] for place in chosen([_facts(corner) for corner in corners], filters)]


def chosen(found: Sequence[Mapping[str, object]], filters: Sequence[Rule]) -> list[int]:
    """The same of whatever has facts, key → value (cells of a frame): places of those that match."""
    facts = [{key: written(value) for key, value in one.items()} for one in found]
    for rule in filters:
        complaint = unmatched(rule, facts)
        if complaint:
            text = ",".join(f"{key}={'|'.join(map(written, _list(value)))}" for key, value in rule.items())
            raise SuiteError(f"filter {text}: {complaint[1]}")
    return [
        place for place, fact in enumerate(facts) if not filters or any(fits(fact, rule) for rule in filters)
    ]


def _check_size(suite: Suite) -> None:
    grid = sum(math.prod(len(_list(value)) for value in method.params.values()) for method in suite.methods)
    dtypes = sum(len(model.dtypes) for model in suite.models)
    size = grid * dtypes * len(suite.devices) * len(suite.runtimes) * suite.repetitions
    if size > MAX_CORNERS:
        count = f"{size} corners" if size < 10**9 else "over a billion corners"
        raise suite.error((), f"expands to {count}, more than {MAX_CORNERS}; split the suite")


def _variants(suite: Suite, known_methods: Iterable[str] | None) -> list[_Variant]:
    """Methods with one value for each parameter; no two alike, and no label for two."""
    variants = [
        variant
        for entry, spec in enumerate(suite.methods)
        for variant in _grid(suite, entry, spec, known_methods)
    ]
    by_meaning: dict[str, _Variant] = {}
    by_label: dict[str, _Variant] = {}
    for variant in variants:
        path: KeyPath = ("methods", variant.entry)
        twin = by_meaning.setdefault(json.dumps([variant.method, variant.params], sort_keys=True), variant)
        if twin is not variant:
            raise suite.error(path, f"{variant.label!r} stands already in methods[{twin.entry}]; keep one")
        twin = by_label.setdefault(variant.label, variant)
        if twin is not variant:
            message = f"label {variant.label!r} is taken by methods[{twin.entry}]; give this entry another"
            raise suite.error(path, message)
    return variants


def _grid(
    suite: Suite, entry: int, spec: MethodSpec, known_methods: Iterable[str] | None
) -> Iterator[_Variant]:
    if spec.name == EVERY_METHOD:
        if known_methods is None:
            raise suite.error(("methods", entry), "name * needs the names of the registry (known_methods)")
        named = {method.name for method in suite.methods}
        yield from (_Variant(name, {}, name, entry) for name in sorted(set(known_methods) - named))
        return
    axes = [[(key, value) for value in _list(values)] for key, values in spec.params.items()]
    varying = {axis[0][0] for axis in axes if len(axis) > 1}
    for point in itertools.product(*axes):
        shown = [f"{key}={written(value)}" for key, value in point if spec.label is None or key in varying]
        yield _Variant(spec.name, dict(point), " ".join([spec.label or spec.name, *shown]), entry)


def _apply(suite: Suite, corners: list[Corner]) -> list[Corner]:
    facts = [_facts(corner) for corner in corners]
    for section, rules in (("include", suite.include), ("exclude", suite.exclude)):
        for index, rule in enumerate(rules):
            complaint = unmatched(rule, facts)
            if complaint:
                raise suite.error((section, index, *complaint[0]), complaint[1])
    return [
        corner
        for corner, fact in zip(corners, facts, strict=True)
        if (not suite.include or any(fits(fact, rule) for rule in suite.include))
        and not any(fits(fact, rule) for rule in suite.exclude)
    ]


def unmatched(rule: Rule, facts: Sequence[dict[str, str]]) -> tuple[KeyPath, str] | None:
    """Why a rule matches no corner, and at which of its keys; None where it matches one."""
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
            return (key,), f"no corner has {key!r}; {did_you_mean(key, choices)}"
        if not any(_value_matches(choice, wanted) for choice in choices[key]):
            near = did_you_mean(written(_list(wanted)[0]) if _list(wanted) else "", choices[key])
            return (key,), f"no corner has {key} {value_text(wanted)}; {near}"
    return (), "each key matches some corner, but no corner matches all of them; drop a key"


def _facts(corner: Corner) -> dict[str, str]:
    """What rules are read against: key → value as text."""
    own = (corner.model.name, corner.method, corner.dtype, corner.device, corner.runtime, corner.label)
    params = {key: written(value) for key, value in corner.params.items()}
    return {**params, **dict(zip(RULE_KEYS, own, strict=True))}


def fits(facts: Mapping[str, str], rule: Mapping[str, Any]) -> bool:
    return all(key in facts and _value_matches(facts[key], wanted) for key, wanted in rule.items())


def _value_matches(text: str, wanted: object) -> bool:
    patterns = map(written, _list(wanted))
    return any(text == pattern or fnmatchcase(text, pattern) for pattern in patterns)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def written(value: object) -> str:
    return one_line(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)

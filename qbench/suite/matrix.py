"""The matrix: models × dtypes × devices × runtimes × methods with parameters × repetitions, as `Variant`s.

    variants = expand(suite, known_methods=available())
    variants = select(variants, [parse_filter("method=absmax,num_bits=4")])

A variant is what the suite's text alone says. The runner makes a `Cell` of it: weights pinned, the
method's defaults filled in, the device resolved.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qbench.fields import Rule
from qbench.json_object import JsonObject
from qbench.suite.checks import EVERY_METHOD
from qbench.suite.positions import KeyPath
from qbench.suite.rules import RULE_KEYS, chosen, fits, listed, unmatched, written
from qbench.suite.spec import MethodSpec, ModelSpec, Suite

MAX_VARIANTS = 10_000


@dataclass(frozen=True)
class Variant:
    """One combination of the matrix, as the text of the suite has it."""

    model: ModelSpec
    dtype: str
    device: str
    """As written: `cpu`, `cuda`, `cuda:0`, or a GPU name pattern."""
    runtime: str
    """`eager` or `compile`."""
    method: str
    params: JsonObject
    """As written, one value each; parameters left out are not here."""
    label: str
    repetition: int
    entry: int
    """Position in `suite.methods`: `("methods", entry)` is the path for `suite.error`."""


@dataclass(frozen=True)
class _MethodPoint:
    """A method with one value for each parameter that the suite names."""

    method: str
    params: JsonObject
    label: str
    entry: int


def expand(suite: Suite, known_methods: Iterable[str] | None = None) -> list[Variant]:
    """Every variant that the suite asks for, in file order: model, dtype, device, runtime, method, grid,
    repetition.

    `known_methods` are the names of the registry, which a method entry named `*` stands for. Raises
    SuiteError for duplicates, for a rule that matches nothing, and where nothing is left.
    """
    _check_size(suite)
    points = _points(suite, known_methods)
    variants = [
        Variant(
            model, dtype, device, runtime, point.method, point.params, point.label, repetition, point.entry
        )
        for model in suite.models
        for dtype in model.dtypes
        for device in suite.devices
        for runtime in suite.runtimes
        for point in points
        for repetition in range(suite.repetitions)
    ]
    kept = _apply(suite, variants)
    if not kept:
        raise suite.error((), "include and exclude leave nothing to run; loosen them")
    return kept


def select(variants: Sequence[Variant], filters: Sequence[Rule]) -> list[Variant]:
    """Variants that match at least one filter, all without one; SuiteError for a filter without a match."""
    return [variants[place] for place in chosen([facts(variant) for variant in variants], filters)]


def _check_size(suite: Suite) -> None:
    grid = sum(math.prod(len(listed(value)) for value in method.params.values()) for method in suite.methods)
    dtypes = sum(len(model.dtypes) for model in suite.models)
    size = grid * dtypes * len(suite.devices) * len(suite.runtimes) * suite.repetitions
    if size > MAX_VARIANTS:
        count = f"{size} variants" if size < 10**9 else "over a billion variants"
        raise suite.error((), f"expands to {count}, more than {MAX_VARIANTS}; split the suite")


def _points(suite: Suite, known_methods: Iterable[str] | None) -> list[_MethodPoint]:
    """Methods with one value for each parameter; no two alike, and no label for two."""
    points = [
        point
        for entry, spec in enumerate(suite.methods)
        for point in _grid(suite, entry, spec, known_methods)
    ]
    by_meaning: dict[str, _MethodPoint] = {}
    by_label: dict[str, _MethodPoint] = {}
    for point in points:
        path: KeyPath = ("methods", point.entry)
        twin = by_meaning.setdefault(json.dumps([point.method, point.params], sort_keys=True), point)
        if twin is not point:
            raise suite.error(path, f"{point.label!r} stands already in methods[{twin.entry}]; keep one")
        twin = by_label.setdefault(point.label, point)
        if twin is not point:
            message = f"label {point.label!r} is taken by methods[{twin.entry}]; give this entry another"
            raise suite.error(path, message)
    return points


def _grid(
    suite: Suite, entry: int, spec: MethodSpec, known_methods: Iterable[str] | None
) -> Iterator[_MethodPoint]:
    if spec.name == EVERY_METHOD:
        if known_methods is None:
            raise suite.error(("methods", entry), "name * needs the names of the registry (known_methods)")
        named = {method.name for method in suite.methods}
        yield from (_MethodPoint(name, {}, name, entry) for name in sorted(set(known_methods) - named))
        return
    axes = [[(key, value) for value in listed(values)] for key, values in spec.params.items()]
    varying = {axis[0][0] for axis in axes if len(axis) > 1}
    for point in itertools.product(*axes):
        shown = [f"{key}={written(value)}" for key, value in point if spec.label is None or key in varying]
        yield _MethodPoint(spec.name, dict(point), " ".join([spec.label or spec.name, *shown]), entry)


def _apply(suite: Suite, variants: list[Variant]) -> list[Variant]:
    known = [facts(variant) for variant in variants]
    for section, rules in (("include", suite.include), ("exclude", suite.exclude)):
        for index, rule in enumerate(rules):
            complaint = unmatched(rule, known)
            if complaint:
                raise suite.error((section, index, *complaint[0]), complaint[1])
    return [
        variant
        for variant, fact in zip(variants, known, strict=True)
        if (not suite.include or any(fits(fact, rule) for rule in suite.include))
        and not any(fits(fact, rule) for rule in suite.exclude)
    ]


def facts(variant: Variant) -> dict[str, str]:
    """Facts that rules are read against: key → value as text."""
    own = (variant.model.name, variant.method, variant.dtype, variant.device, variant.runtime, variant.label)
    params = {key: written(value) for key, value in variant.params.items()}
    return {**params, **dict(zip(RULE_KEYS, own, strict=True))}

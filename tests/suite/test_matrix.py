"""Expansion and rules, against loops written out and sets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.errors import SuiteError
from qbench.suite.load import parse_suite
from qbench.suite.matrix import Variant, expand, facts, select
from qbench.suite.rules import fits, parse_filter
from qbench.suite.spec import Suite

TEXT = """\
name: m
models:
  - {source: org/a, dtypes: [fp32, bf16]}
  - {source: org/b}
devices: [cpu, H100]
repetitions: 2
methods:
  - {name: none}
  - {name: absmax, num_bits: [8, 4], strategy: [tensor, channel]}
  - {name: gptq, num_bits: [4, 3], group_size: 64, label: "GPTQ"}
  - {name: hqq, group_size: [64], label: "HQQ"}
"""
LABELS = [
    "none",
    "absmax num_bits=8 strategy=tensor",
    "absmax num_bits=8 strategy=channel",
    "absmax num_bits=4 strategy=tensor",
    "absmax num_bits=4 strategy=channel",
    "GPTQ num_bits=4",
    "GPTQ num_bits=3",
    "HQQ",
]


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    return expand(parse_suite(TEXT, "m.yaml"))


def test_the_matrix_is_every_combination_in_file_order(variants: list[Variant]) -> None:
    models = [("a", "fp32"), ("a", "bf16"), ("b", "bf16")]
    expected = [
        (model, dtype, device, label, repetition)
        for (model, dtype), device, label, repetition in itertools.product(
            models, ["cpu", "H100"], LABELS, [0, 1]
        )
    ]
    assert [(c.model.name, c.dtype, c.device, c.label, c.repetition) for c in variants] == expected


def test_a_variant_holds_parameters_as_written_and_its_entry(variants: list[Variant]) -> None:
    gptq = [variant for variant in variants if variant.label == "GPTQ num_bits=3"]
    assert all(variant.params == {"num_bits": 3, "group_size": 64} for variant in gptq)
    assert {variant.entry for variant in gptq} == {2}
    assert list(gptq[0].params) == ["num_bits", "group_size"]


def test_expansion_is_deterministic(variants: list[Variant]) -> None:
    assert expand(parse_suite(TEXT, "m.yaml")) == variants


def count(variants: list[Variant], rule: dict[str, Any]) -> int:
    return sum(fits(facts(variant), rule) for variant in variants)


def test_rules_match_values_patterns_and_lists(variants: list[Variant]) -> None:
    places = 3 * 2 * 2  # (model, dtype) × device × repetition
    assert count(variants, {"method": "absmax"}) == 4 * places
    assert count(variants, {"num_bits": 4}) == 3 * places
    assert count(variants, {"num_bits": "4"}) == 3 * places
    assert count(variants, {"num_bits": [4, 3]}) == 4 * places
    assert count(variants, {"method": "*q", "num_bits": 4}) == places
    assert count(variants, {"label": "GPTQ*"}) == 2 * places
    assert count(variants, {"model": "a", "dtype": "bf16", "device": "H*"}) == len(LABELS) * 2
    assert count(variants, {"num_bits": 5}) == 0
    assert count(variants, {"other": "*"}) == 0


def test_a_name_with_brackets_matches_itself() -> None:
    suite = parse_suite(TEXT.replace('"GPTQ"', '"GPTQ [a]"'), "m.yaml")
    assert count(expand(suite), {"label": "GPTQ [a] num_bits=3"}) == 12


def test_booleans_and_null_compare_as_written() -> None:
    method = "{name: z, zero_in_range: [true, false], group_size: null}"
    text = f"name: m\nmodels: [{{source: a/b}}]\nmethods: [{method}]\n"
    found = expand(parse_suite(text, "m.yaml"))
    assert count(found, {"zero_in_range": True}) == count(found, parse_filter("zero_in_range=true")) == 1
    assert count(found, {"zero_in_range": 1}) == 0
    assert count(found, {"group_size": None}) == 2


def test_include_keeps_and_exclude_drops() -> None:
    rules = (
        "include: [{method: absmax}, {label: HQQ}]\nexclude: [{model: b}, {num_bits: 4, strategy: tensor}]\n"
    )
    kept = expand(parse_suite(TEXT + rules, "m.yaml"))
    expected = {"absmax num_bits=8 strategy=tensor", "HQQ", *LABELS[2:3], *LABELS[4:5]}
    assert {variant.label for variant in kept} == expected
    assert {variant.model.name for variant in kept} == {"a"}
    assert len(kept) == 4 * 2 * 2 * 2  # labels × dtypes of a × devices × repetitions


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("method=absmax,num_bits=4", {"method": ["absmax"], "num_bits": ["4"]}),
        (" method = absmax ", {"method": ["absmax"]}),
        ("num_bits=4,num_bits=3", {"num_bits": ["4", "3"]}),
        ("label=a=b", {"label": ["a=b"]}),
    ],
)
def test_filters_are_rules(text: str, rule: dict[str, Any]) -> None:
    assert parse_filter(text) == rule


@pytest.mark.parametrize("text", ["", "absmax", "method=", "=4", "method=a,", "method=a,,b=c"])
def test_a_filter_without_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match="KEY=VALUE"):
        parse_filter(text)


def test_filters_add_up_and_must_match(variants: list[Variant]) -> None:
    both = select(variants, [parse_filter("method=none"), parse_filter("method=hqq,model=a")])
    assert {(c.method, c.model.name) for c in both} == {("none", "a"), ("none", "b"), ("hqq", "a")}
    assert select(variants, []) == variants
    for text, expected in [
        ("mehtod=none", "did you mean 'method'?"),
        ("method=asbmax", "did you mean 'absmax'? choose from: absmax, gptq, hqq, none"),
        ("method=none,num_bits=4", "no cell matches all of them"),
    ]:
        with pytest.raises(SuiteError) as caught:
            select(variants, [parse_filter(text)])
        assert expected in str(caught.value)


def test_a_star_stands_for_the_methods_that_are_not_named() -> None:
    suite = parse_suite(TEXT + '  - {name: "*"}\n', "m.yaml")
    names = ["hqq", "nf4", "absmax", "none", "gptq", "awq"]
    labels = list(dict.fromkeys(variant.label for variant in expand(suite, names)))
    assert labels == [*LABELS, "awq", "nf4"]
    with pytest.raises(SuiteError, match=r"m\.yaml:12:5"):
        expand(suite)


_AXIS = st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    grid=st.dictionaries(st.sampled_from(["num_bits", "group_size", "alpha", "x"]), _AXIS, max_size=4),
    repetitions=st.integers(1, 3),
    labelled=st.booleans(),
)
def test_a_grid_is_the_product_of_its_axes(
    grid: dict[str, list[int]], repetitions: int, labelled: bool
) -> None:
    method = {"name": "m", **grid, **({"label": "M"} if labelled else {})}
    suite = Suite.model_validate(
        {"name": "s", "models": [{"source": "a"}], "methods": [method], "repetitions": repetitions}
    )
    found = expand(suite)
    points = {tuple(variant.params.items()) for variant in found}
    assert points == {tuple(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())}
    assert len(found) == len(points) * repetitions
    assert len({variant.label for variant in found}) == len(points)

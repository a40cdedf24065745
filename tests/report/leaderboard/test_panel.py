"""What a cell's panel is given: a command that selects it alone, the record's details, within a budget."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qbench.cell import Cell, ModelRef
from qbench.quant.method import registry
from qbench.report.leaderboard import details as details_module
from qbench.report.leaderboard.command import Origin, command, exactly, origin_of
from qbench.report.leaderboard.details import Details, layer_table
from qbench.results.store.record import Record
from qbench.suite.load import load_suite, packaged_suites, parse_suite
from qbench.suite.matrix import Variant, expand, select
from qbench.suite.rules import parse_filter
from tests.report.unpacked import unpack
from tests.results import factory

HOSTILE = "</script><script>alert(1)</script>\u2028\"'`, * ? [a-z] = ünï 😀 $(rm) ; "
SEVERAL = """
name: several
models:
  - {source: "builtin:austen-6m", name: "a, b*", dtypes: [bf16, fp32]}
  - {source: "builtin:austen-6m", name: "a, bc", dtypes: [bf16]}
devices: [cpu, cuda]
runtimes: [eager, compile]
repetitions: 2
methods:
  - {name: none}
  - {name: absmax, num_bits: [8, 4], label: "mine [x], it's $HOME"}
  - {name: absmax, num_bits: 3, label: "mine ?"}
  - {name: absmax, num_bits: 2, label: "mine x"}
"""


def cell_of(variant: Variant) -> Cell:
    """As the planner makes it, as far as a filter can see."""
    return factory.cell(
        variant.method,
        model=ModelRef(name=variant.model.name, source="s", weights="w"),
        label=variant.label,
        dtype=variant.dtype,
        device="cuda:0" if variant.device == "cuda" else variant.device,
        runtime=variant.runtime,
        repetition=variant.repetition,
    )


def selected(text: str, variants: list[Variant]) -> list[Variant]:
    """What `qbench run` would run: the shell's words, then the real filter."""
    words = shlex.split(text)
    assert words[:2] == ["qbench", "run"]
    assert words[3] == "--fresh"
    assert words[4] == "--filter"
    assert len(words) == 6
    return select(variants, [parse_filter(words[5])])


@pytest.mark.parametrize("name", packaged_suites())
def test_the_command_selects_its_cell_alone_in_every_packaged_suite(name: str) -> None:
    suite = load_suite(name)
    text = Path(suite.file).read_text()
    origin = origin_of({"suite": suite.name, "suite_file": f"{name}.yaml", "suite_text": text})
    variants = expand(suite, list(registry.available()))
    for variant in variants:
        assert selected(command(cell_of(variant), origin).text, variants) == [variant]
    assert command(cell_of(variants[0]), origin).text.startswith(f"qbench run {name} ")


def test_names_full_of_signs_dtypes_devices_runtimes_and_repetitions() -> None:
    suite = parse_suite(SEVERAL, "several.yaml")
    origin = origin_of({"suite": "several", "suite_file": "my several.yaml", "suite_text": SEVERAL})
    assert (origin.devices, origin.repetitions) == (("cpu", "cuda"), 2)
    variants = expand(suite)
    for variant in variants:
        found = command(cell_of(variant), origin)
        chosen = selected(found.text, variants)
        assert {one.repetition for one in chosen} == {0, 1}
        same = [(one.model.name, one.dtype, one.device, one.runtime, one.label) for one in chosen]
        assert set(same) == {
            (variant.model.name, variant.dtype, variant.device, variant.runtime, variant.label)
        }
        assert "all 2 repetitions" in found.note
    assert "my several.yaml" in command(cell_of(variants[0]), origin).note


def test_a_gpu_is_named_as_the_suite_names_it() -> None:
    gpus = {"cuda:0": "NVIDIA H100", "cuda:1": "NVIDIA A100"}
    origin = Origin("s", "", devices=("cpu", "H100", "A100"), runtimes=("eager",), gpus=gpus)
    assert "device=A100" in command(factory.cell(device="cuda:1"), origin).text
    assert "device=H100" in command(factory.cell(device="cuda:0"), origin).text
    assert "device" not in command(factory.cell(), Origin("s", "", ("cuda",), ("eager",))).text
    unreadable = origin_of({"suite": "x", "suite_text": "}{"})
    assert "device=cpu" in command(factory.cell(), unreadable).text


ONE = expand(parse_suite(SEVERAL, "s"))[0]


PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ", exclude_characters=",")
"""What a filter can hold: drawn directly, since most of what is drawn freely would be thrown away."""


@given(st.text(PRINTABLE, min_size=1, max_size=20).map(str.strip), st.text(min_size=1, max_size=20))
@example("a*", "ab")
@example("[a]", "a")
@example("?", "x")
@example("a,b", "c")
@example(" a\n", "b")
def test_a_label_is_matched_exactly_whatever_is_in_it(label: str, other: str) -> None:
    def blurred(text: str) -> str:
        """With one sign for all that a filter cannot hold."""
        inner = [one if one.isprintable() and one != "," else "\0" for one in text.strip()]
        return "".join(inner)

    assume(blurred(label) != blurred(other) and "\0" not in blurred(label))
    assume(label)
    assume(label == label.strip())
    variants = [replace(ONE, label=one) for one in (label, other)]
    assert select(variants, [parse_filter(f"label={exactly(label)}")]) == variants[:1]


@given(st.text(min_size=1, max_size=20))
def test_a_label_always_matches_itself(label: str) -> None:
    variant = replace(ONE, label=label)
    assert select([variant], [parse_filter(f"label={exactly(label)}")]) == [variant]


def details_of(records: Iterable[Record], **origin: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Entries by key, and all that the page is given."""
    details = Details.of({"20261121T105600Z-ab12cd": {**factory.MANIFEST, **origin}})
    entries = [details.entry(record) for record in records]
    assert entries
    for entry in entries:
        details.take(entry)
    data = details.data()
    return {
        key: entry
        for chunk in data["chunks"]
        for key, entry in zip(chunk["keys"], unpack(chunk["packed"]), strict=True)
    }, data


def test_details_are_the_records() -> None:
    record = factory.record(
        "absmax", environment={"threads": 2, "ceilings": {"x": 1}}, model={"a": {"b": [1, 2]}}
    )
    entries, _ = details_of([record])
    entry = entries[f"{record.run}/{record.cell.id}"]
    sections = {one["title"]: dict(map(tuple, one["pairs"])) for one in entry["sections"]}
    assert sections["Parameters"] == {"num_bits": "8", "strategy": "channel"}
    assert sections["Cell"]["quality.seqlen"] == "512"
    assert sections["Model as loaded"] == {"a.b": "1, 2"}
    assert sections["Its process"] == {"threads": "2"}
    assert sections["Time by phase"]["load"] == "0.2 s"
    series = {one["title"]: one for one in entry["series"]}
    assert series["Loss by window"]["values"] == pytest.approx(
        [nats / 511 for nats in factory.LOSSES], rel=1e-4
    )
    assert series["Prefill by round"]["values"] == [12.0, 10.0, 11.0]
    assert series["Decode by round"]["unit"] == "ms/token"
    assert entry["file"] == f"quickstart/{record.run}/{record.cell.id}.json"
    assert entry["layers"]["executed"] == ["int8_packed for 1–512 rows"]
    assert entry["layers"]["bytes"] == [256 * 256 + 512]
    assert entry["layers"]["error"] == [0.004]


def test_long_and_hostile_texts_are_cut_and_stay_text() -> None:
    traceback = "first\n" + "x" * 1_000_000 + "\nlast line"
    error = {"type": HOSTILE, "message": HOSTILE * 1000, "traceback": traceback}
    record = factory.record(
        "absmax", status="failed", reason="no", error=error, samples={}, layers=[],
        cell=factory.cell("absmax", label=HOSTILE, params={HOSTILE: "y" * 1_000_000, "n": {"m": None}}),
    )  # fmt: skip
    entries, data = details_of([record])
    entry = entries[f"{record.run}/{record.cell.id}"]
    assert entry["error"]["type"] == HOSTILE
    assert entry["error"]["traceback"].startswith("first\n")
    assert entry["error"]["traceback"].endswith("last line")
    assert "characters left out; the record has them" in entry["error"]["traceback"]
    assert dict(map(tuple, entry["sections"][0]["pairs"]))[HOSTILE].endswith("… (1000000 characters)")
    assert len(data["chunks"][0]["packed"]) < 10_000
    assert set(data["chunks"][0]["packed"]) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    )


def test_what_is_not_finite_is_null_and_many_layers_are_cut() -> None:
    nll: list[Any] = [float("nan"), *factory.LOSSES[1:]]
    record = factory.record(samples=factory.samples(perplexity=factory.perplexity(nll)))
    entries, _ = details_of([record])
    (losses,) = [one for one in next(iter(entries.values()))["series"] if one["title"].startswith("Loss")]
    assert losses["values"][0] is None
    table = layer_table([factory.layer()] * 2100)
    assert (table["left_out"], len(table["name"])) == (100, 2000)


def test_beyond_the_budget_layers_go_first_and_what_is_left_out_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(details_module, "CHUNK", 1)
    many = [factory.record("absmax", cell=factory.cell("absmax", seed=seed)) for seed in range(30)]
    whole, _ = details_of(many)
    assert len(whole) == 30
    size = sum(len(chunk["packed"]) for chunk in details_of(many)[1]["chunks"])
    monkeypatch.setattr(details_module, "LAYERS_BUDGET", size // 3)
    monkeypatch.setattr(details_module, "BUDGET", 2 * size // 3)
    some, data = details_of(many)
    assert data["left_out"] == 30 - len(some) > 0
    with_layers = [bool(entry.get("layers")) for entry in some.values()]
    assert with_layers == sorted(with_layers, reverse=True)
    assert data["without_layers"] == with_layers.count(False) > 0
    assert sum(len(chunk["packed"]) for chunk in data["chunks"]) < size

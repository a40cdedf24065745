"""The table of columns: the usual ones of each medium in their order, and names that are declared once."""

from __future__ import annotations

import dataclasses

import pytest

from qbench.errors import ResultsError
from qbench.results.columns.column import Medium
from qbench.results.table.columns import columns, related, usual
from qbench.results.table.metrics import METRICS, assembled

USUAL: dict[Medium, list[str]] = {
    "page": [
        "bits_per_weight", "perplexity_ratio", "kl_divergence", "weight_bytes", "decode_s_per_token",
        "prefill_s", "perplexity", "top1_agreement", "task_accuracy", "peak_memory_bytes", "quantize_s",
        "energy_j_per_token",
    ],
    "terminal": [
        "bits_per_weight", "perplexity_ratio", "weight_bytes", "decode_s_per_token", "perplexity",
        "prefill_s", "kl_divergence", "top1_agreement", "task_accuracy", "peak_memory_bytes",
        "energy_j_per_token", "quantize_s",
    ],
    "markdown": [
        "bits_per_weight", "perplexity", "perplexity_ratio", "kl_divergence", "task_accuracy",
        "weight_bytes", "prefill_s", "decode_s_per_token", "energy_j_per_token",
    ],
}  # fmt: skip


@pytest.mark.parametrize("medium", USUAL)
def test_the_usual_columns_stand_in_the_order_that_readers_know(medium: Medium) -> None:
    found = [column.name for column in usual(medium)]
    assert [name for name in found if name in USUAL[medium]] == USUAL[medium], "one may be added, none moved"


def test_what_relates_a_cell_to_its_base_has_a_direction() -> None:
    known = {column.name: (column.kind, column.direction) for column in related()}
    assert None not in {direction for _, direction in known.values()}
    assert known == {
        **known,
        "perplexity_ratio": ("deterministic", "lower"),
        "weight_bytes_ratio": ("deterministic", "lower"),
        "prefill_speedup": ("timed", "higher"),
        "decode_speedup": ("timed", "higher"),
    }


def test_an_end_has_title_and_unit_of_its_number() -> None:
    known = columns()
    assert known["perplexity_ratio_low"].title == "Perplexity × base, low end"
    assert (known["prefill_s_min"].of, known["prefill_s_min"].title) == ("prefill_s", "Prefill, fastest")
    assert known["kl_max"].of == ""  # a maximum over tokens, no slowest round
    assert all(known[column.of].unit == column.unit for column in known.values() if column.of)


def test_two_metrics_of_one_name_are_an_error_that_names_both_sources() -> None:
    metric = METRICS["load_s"]
    with pytest.raises(ResultsError, match="'load_s' is declared by mine and by yours"):
        assembled([("mine", metric), ("yours", dataclasses.replace(metric, unit="B"))])


def test_a_metric_comes_last_of_its_group() -> None:
    first, last = METRICS["perplexity"], METRICS["energy_trials"]
    added = dataclasses.replace(first, name="mine")
    assert list(assembled([("a", first), ("a", last), ("b", added)])) == [
        "perplexity",
        "mine",
        "energy_trials",
    ]

"""Stacks add up, heat maps are the layer tables, power is what the windows hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qbench.probes.energy.windows import worked
from qbench.report.charts.memory import PARTS, total
from qbench.report.charts.power import energy_windows
from qbench.results.store.record import Record
from tests.probes.energy.test_energy_metrics import sample, window
from tests.report.charts.charted import (
    RECORDS,
    drawn,
    pictures,
    quantized,
    trace,
    undrawn,
)
from tests.results import factory


def test_stacked_parts_come_to_the_bytes_of_the_record() -> None:
    memory = factory.memory(
        9_000_000, quantized_bytes=5_000_000, metadata_bytes=1_000_000, rest_bytes=3_000_000,
        embedding_bytes=2_500_000, activation_bytes=700_000,
    )  # fmt: skip
    records = [factory.record(), quantized("a", 1.01, 5, samples={"energy": {"reason": "none"}})]
    records[1].samples["memory"] = memory
    rows, _ = drawn(records)
    row = next(row for row in rows if row["method"] == "absmax")
    assert total(row) == 9_000_000 + 393_216 + 700_000
    view = pictures(records)["Memory by part"]["views"][0]
    heights = [one["x"][1] for one in view["data"] if one["x"][1] is not None]
    assert sum(heights) * 1e6 == pytest.approx(total(row), rel=1e-5)
    assert {one["name"] for one in view["data"]} <= {part.title for part in PARTS}
    assert view["table"]["rows"][1][-1] == "10.09"


def with_layers(label: str, scale: float, skipped: int = -1) -> Record:
    def ran(*kernels: tuple[str, int, int]) -> list[dict[str, Any]]:
        return [
            {"kernel": name, "min_rows": low, "max_rows": high, "calls": 1} for name, low, high in kernels
        ]

    layers = [
        {
            **factory.layer(),
            "name": f"model.layers.{place // 7}.p{place % 7}",
            "weight_error": scale * (1 + place),
            "executed": ran(("b", 33, 99), ("a", 1, 32)) if place % 2 else ran(("c", 1, 9)),
        }
        for place in range(210)
        if place != skipped
    ]
    return quantized(label, 1.01, 5, layers=layers)


def test_heat_maps_are_the_layer_tables() -> None:
    records = [factory.record(), with_layers("one", 1e-4), with_layers("two", 3e-4, skipped=5)]
    found = pictures(records)
    view = found["Error of the weights by layer"]["views"][0]
    heat = view["data"][0]
    assert len(heat["z"]) == 2
    assert len(heat["z"][0]) == 210
    for line, record in zip(heat["z"], records[1:], strict=True):
        errors = {layer["name"]: layer["weight_error"] for layer in record.layers}
        for place, name in enumerate(row[0] for row in view["table"]["rows"]):
            expected = math.log10(errors[name]) if name in errors else None
            assert line[place] == (None if expected is None else pytest.approx(expected, abs=1e-4))
    assert view["table"]["rows"][5][2] == "–"
    assert view["least_width"] > 1000
    kernels = found["Kernel that ran by layer"]["views"][0]
    assert kernels["table"]["rows"][1][1] == "a + b"  # few rows first
    assert kernels["table"]["rows"][2][1] == "c"
    assert {one["name"] for one in kernels["data"][1:]} == {"a + b", "c"}
    codes = kernels["data"][0]["z"][0]
    assert codes[1] == codes[3] != codes[0] == codes[2]
    assert len(view["layout"]["xaxis"]["tickvals"]) <= 16


def test_energy_over_time_is_what_the_windows_hold() -> None:
    energy = sample(window(1500.0), window(1600.0))
    records = [factory.record(), quantized("a", 1.01, 5, samples={"energy": energy})]
    view = pictures(records)["Energy over time"]["views"][0]
    assert view["name"] == "a (absmax), decoding"
    first = energy_windows(energy, "decode")[0]
    assert first.energy_j == worked(energy, "decode")[0].energy_j == pytest.approx(1500.0)
    assert first.edges == pytest.approx((-0.03, 5.24))
    drawn_samples = trace({"views": [view]}, "trial 1, samples")
    assert drawn_samples["y"] == pytest.approx(energy["decode"]["power_w"][0])
    across = sum((end - start) * watts for start, end, watts in first.counter)
    ticks = energy["decode"]["ticks"][0]
    assert across == pytest.approx(ticks[-1][2] - ticks[0][2])  # the steps hold the counter's joules
    edges = trace({"views": [view]}, "trial 1, edges")["x"]
    assert sorted({x for x in edges if x is not None}) == pytest.approx([-0.03, 0.0, 5.0, 5.24])
    assert undrawn(RECORDS)["Energy over time"] == "this machine or its kernel has no RAPL counter"

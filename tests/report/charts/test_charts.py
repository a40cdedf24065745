"""Pictures against independent truth: the numbers are the frame's, fronts are found by brute force."""

from __future__ import annotations

import dataclasses

import plotly.graph_objects
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.probes.latency.metrics import latency_runs
from qbench.report.charts.costs import FADED, beaten, front
from qbench.report.charts.marks import Marks
from tests.probes.energy.test_energy_metrics import sample, window
from tests.report.charts.charted import (
    RECORDS,
    drawn,
    other_model,
    pictures,
    quantized,
    timed,
    trace,
    undrawn,
)
from tests.report.unpacked import unpack
from tests.results import factory

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=14)


@given(points)
def test_the_front_is_what_no_other_point_dominates(found: list[tuple[int, int]]) -> None:
    def dominated(one: tuple[int, int]) -> bool:
        return any(x <= one[0] and y <= one[1] and (x, y) != one for x, y in found)

    chosen = front([(float(x), float(y)) for x, y in found])
    assert {found[index] for index in chosen} == {one for one in found if not dominated(one)}
    assert len(chosen) == len({found[index] for index in chosen})


@given(st.lists(st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(0, 3)] * 4), min_size=1, max_size=10))
def test_beaten_is_beaten_by_more_than_the_intervals(found: list[tuple[int, ...]]) -> None:
    x = [(one[0] - one[2], one[0] + one[3]) for one in found]
    y = [(one[1] - one[4], one[1] + one[5]) for one in found]
    truth = [
        any(
            x[other][1] <= x[index][0]
            and y[other][1] <= y[index][0]
            and (x[other][1] < x[index][0] or y[other][1] < y[index][0])
            for other in range(len(found))
        )
        for index in range(len(found))
    ]
    assert beaten(x, y) == truth


def test_every_figure_is_valid_plotly() -> None:
    for chapter in drawn([*RECORDS, *other_model()])[1].chapters:
        for picture in unpack(chapter.payload)["pictures"]:
            for view in picture["views"]:
                plotly.graph_objects.Figure(data=view["data"], layout=view["layout"])


def test_a_front_holds_the_frames_numbers_and_fades_only_what_is_beaten() -> None:
    rows, _ = drawn(RECORDS)
    picture = pictures(RECORDS)["Quality against weight memory"]
    by_label = {row["label"]: row for row in rows}
    for method, label in (("absmax", "eight"), ("gptq", "four"), ("hqq", "worse")):
        found, row = trace(picture, method), by_label[label]
        assert found["x"] == pytest.approx([row["weight_bytes"] / 1e6])
        assert found["y"] == pytest.approx([row["perplexity_ratio"]])
        high = row["perplexity_ratio_high"] - row["perplexity_ratio"]
        assert found["error_y"]["array"] == pytest.approx([high], abs=1e-5) if high > 1e-9 else True
        assert found["customdata"] == [f"{row['run']}/{row['cell_id']}"]
    assert trace(picture, "gptq")["marker"]["color"] == [Marks(["absmax", "gptq", "hqq"]).of("gptq").colour]
    assert trace(picture, "hqq")["marker"]["color"][0].endswith(f", {FADED})")
    assert trace(picture, "Pareto front")["y"] == sorted(trace(picture, "Pareto front")["y"], reverse=True)
    assert "gptq, 512 tokens, builtin:persuasion" in picture["note"]
    table = picture["views"][0]["table"]
    assert [row[0] for row in table["rows"]] == ["none", "eight (absmax)", "worse (hqq)", "four (gptq)"]
    assert [row[3] for row in table["rows"]] == ["on the front", "on the front", "beaten", "on the front"]
    assert table["rows"][1][1:3] == ["6.00", "1.010"]


def test_what_cannot_be_told_apart_is_not_faded() -> None:
    slow = [factory.latency([0.03] * 6, [[step]] * 3 + [[0.004]] * 3) for step in (0.02, 0.0201)]
    records = [
        factory.record(samples=factory.samples(latency=slow[0])),
        quantized("a", 1.01, 5, samples={"latency": slow[0]}),
        quantized("b", 1.02, 5, "gptq", samples={"latency": slow[1]}),
    ]
    picture = pictures(records)["Quality against decode time"]
    assert trace(picture, "gptq")["marker"]["color"][0].startswith("#")
    assert picture["views"][0]["table"]["rows"][-1][3] == "within the intervals"
    assert "error_x" in trace(picture, "gptq")


def test_measured_energy_only_where_it_was_measured_and_the_model_by_its_name() -> None:
    reasons = undrawn(RECORDS)
    assert reasons["Quality against measured energy"] == "this machine or its kernel has no RAPL counter"
    assert "Quality against modelled energy, which measures nothing" not in pictures(RECORDS)
    measured = [
        quantized("a", 1.01, 5, samples={"energy": sample(window(), window(1600.0), window(1550.0))}),
        factory.record(
            samples=factory.samples(energy=sample(window(1800.0), window(1900.0), window(1850.0)))
        ),
    ]
    found = pictures(measured)
    rows, _ = drawn(measured)
    energy = {row["method"]: row["energy_j_per_token"] for row in rows}
    assert trace(found["Quality against measured energy"], "absmax")["x"] == pytest.approx([energy["absmax"]])
    bar = trace(found["Measured energy × base"], "absmax")
    assert bar["x"] == pytest.approx([energy["absmax"] / energy["none"]], rel=1e-5)


def test_bars_stand_on_zero_and_hold_the_frames_ratios() -> None:
    rows, _ = drawn(RECORDS)
    by_method = {row["method"]: row for row in rows}
    found = pictures(RECORDS)
    for title, column, change in (
        ("Perplexity added (%)", "perplexity_ratio", lambda value: 100 * (value - 1)),
        ("Weight memory × base", "weight_bytes_ratio", lambda value: value),
        ("Decode speed × base", "decode_speedup", lambda value: value),
    ):
        assert found[title]["views"][0]["layout"]["xaxis"]["rangemode"] == "tozero"
        for method in ("absmax", "gptq", "hqq"):
            bar = trace(found[title], method)
            assert bar["x"] == pytest.approx([change(by_method[method][column])], rel=1e-5)
    assert "there is no base" in undrawn([quantized("a", 1.1, 5), quantized("b", 1.2, 6)]).values()


def test_lines_by_bits_join_one_method_and_what_else_is_equal() -> None:
    widths = [quantized(f"g{bits}", 1 + 1 / bits, 5, "gptq", bits) for bits in (8.0, 3.0, 4.0)]
    found = pictures([factory.record(), *widths, quantized("h", 1.3, 5, "hqq", 4.0)])[
        "Quality by bits per weight"
    ]
    line = trace(found, "gptq")
    assert line["x"] == [3.0, 4.0, 8.0]
    assert line["y"] == pytest.approx([1 + 1 / 3, 1.25, 1.125], rel=1e-5)
    assert trace(found, "hqq")["mode"] == "markers"
    assert len(found["views"][0]["data"]) == 2  # the base is no line


def test_single_points_of_one_method_differ_in_their_marks() -> None:
    """A line's dash tells nothing where there is one point."""
    cells = []
    for place, mode in enumerate(("none", "dynamic", "static")):
        record = quantized(mode, 1.1 + place / 10, 5, "absmax", 8.0)
        cell = dataclasses.replace(record.cell, params={"num_bits": 8, "activations": mode})
        cells.append(dataclasses.replace(record, cell=cell))
    found = pictures([factory.record(), *cells])["Quality by bits per weight"]
    marks = [(one["marker"]["color"], one["marker"]["symbol"]) for one in found["views"][0]["data"]]
    assert len({colour for colour, _ in marks}) == 1
    assert len(set(marks)) == len(marks) == 3


def test_latency_by_length_and_batch_is_that_of_latency_runs() -> None:
    records = [
        factory.record(samples=factory.samples(latency=timed(0.001))),
        quantized("a", 1.01, 5, samples={"latency": timed(0.002)}),
    ]
    found = pictures(records)["Latency by prompt length and batch size"]
    assert [view["name"] for view in found["views"]] == [
        f"{what}{over}, batch {batch}"
        for what in ("Prefill time", "Decode time") for batch in (1, 4) for over in (" × base", "")
    ]  # fmt: skip
    truth = {(row["method"], row["batch_size"], row["prompt_length"]): row for row in latency_runs(records)}
    for view, batch in ((0, 1), (1, 1), (2, 4), (3, 4)):
        for method, name in (("none", "none"), ("absmax", "a (absmax)")):
            line = trace(found, name, view)
            rows = [truth[method, batch, length] for length in (32, 128)]
            bases = [truth["none", batch, length]["prefill_s"] for length in (32, 128)]
            units = [0.001, 0.001] if view % 2 else bases
            medians = [row["prefill_s"] / unit for row, unit in zip(rows, units, strict=True)]
            assert line["y"] == pytest.approx(medians, rel=1e-5)
            highs = [
                (row["prefill_s_high"] - row["prefill_s"]) / unit
                for row, unit in zip(rows, units, strict=True)
            ]
            assert line["error_y"]["array"] == pytest.approx(highs, rel=1e-4)
            assert [row[1] for row in found["views"][view]["table"]["rows"][:2]] == ["32", "128"]
        places = [line["x"] for line in found["views"][view]["data"]]
        assert places[0] < places[1]
        assert [(one * other) ** 0.5 for one, other in zip(*places, strict=True)] == pytest.approx(
            [32, 128], rel=1e-5
        )
    assert "Latency by prompt length and batch size" in undrawn(RECORDS)


def test_models_side_by_side_have_the_same_axes() -> None:
    _, found = drawn([*RECORDS, *other_model()])
    assert [chapter.title for chapter in found.chapters] == [
        "austen-6m · bf16 · cpu", "other · bf16 · cpu", "Models side by side"
    ]  # fmt: skip
    panels = unpack(found.chapters[-1].payload)["pictures"]
    layouts = [panel["views"][0]["layout"] for panel in panels]
    assert len(panels) == 2
    assert layouts[0] == layouts[1]
    for panel in panels:
        for one in panel["views"][0]["data"]:
            low, high = layouts[0]["xaxis"]["range"]
            assert all(low < x < high for x in one["x"])


def test_one_disturbed_round_does_not_flatten_the_latencies() -> None:
    slow = timed(0.0015)
    slow["runs"][0]["prefill_s"] = [0.05, 0.06, 0.9]
    records = [
        factory.record(samples=factory.samples(latency=timed(0.001))),
        quantized("a", 1.01, 5, samples={"latency": slow}),
    ]
    found = pictures(records)["Latency by prompt length and batch size"]
    for view in (0, 1):
        low, high = found["views"][view]["layout"]["yaxis"]["range"]
        lines = [trace(found, name, view) for name in ("none", "a (absmax)")]
        medians = [middle for line in lines for middle in line["y"]]
        assert high == pytest.approx(1.5 * max(medians), rel=1e-5)
        assert low < min(medians)
        assert max(line["y"][0] + line["error_y"]["array"][0] for line in lines) > high  # drawn whole
    assert "range" not in found["views"][4]["layout"]["yaxis"]  # no bar is too long: the axis is plotly's

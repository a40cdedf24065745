"""Nothing of a record is markup to plotly, and labels stay apart and readable."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.report.charts.chart import MOST, cut, words
from qbench.report.charts.group import short_labels
from qbench.report.charts.marks import Marks
from qbench.report.charts.measures import RATIO, axis
from qbench.report.html.page import pack
from tests.report.charts.charted import (
    HOSTILE,
    drawn,
    pictures,
    quantized,
    timed,
)
from tests.report.unpacked import unpack
from tests.results import factory


def test_many_cells_are_cut_and_the_note_says_so() -> None:
    many = [
        quantized(f"m{place}", 1 + place / 100, 5 + place, f"method{place % 60:02}") for place in range(120)
    ]
    found = pictures([factory.record(), *many])
    bars = found["Perplexity added (%)"]
    assert sum(len(one["y"]) for one in bars["views"][0]["data"]) == MOST - 1  # and the base
    assert f"the {MOST} cells that lose least, {121 - MOST} more" in bars["note"]
    assert max(max(one["x"]) for one in bars["views"][0]["data"]) == pytest.approx(48.0, rel=1e-3)
    marks = Marks(f"method{place}" for place in range(42))
    handed = [marks.of(f"method{place}") for place in range(42)]
    assert len({(mark.colour, mark.symbol) for mark in handed}) == 42


def test_nothing_of_a_record_is_markup_to_plotly() -> None:
    layers = [{**factory.layer(kernel=HOSTILE), "name": HOSTILE}]
    bad = quantized(
        HOSTILE,
        1.1,
        5,
        layers=layers,
        cell={"model": factory.cell().model},
        samples={"latency": timed(0.001)},
    )
    longest = quantized("x" * 1_000_000, 1.2, 6)
    _, found = drawn([factory.record(), bad, longest])
    strings: list[str] = []

    def collect(value: Any, own: bool) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                collect(inner, own or key in ("name", "text", "ticktext"))
        elif isinstance(value, list):
            for inner in value:
                collect(inner, own)
        elif isinstance(value, str) and own:
            strings.append(value)

    whole = unpack(found.chapters[0].payload)
    for picture in whole["pictures"]:
        for view in picture["views"]:
            collect(view["data"], False)
            collect(view["layout"], False)
            plotly.graph_objects.Figure(data=view["data"], layout=view["layout"])
    inside = [text.replace("<b>", "").replace("</b>", "").replace("<br>", "") for text in strings]
    assert not [text for text in inside if "<" in text]
    assert any("&lt;img" in text or "&lt;b&gt;x" in text for text in inside)
    assert len(json.dumps(whole)) < 200_000


@settings(max_examples=50)
@given(st.text(), st.integers(4, 60))
def test_words_are_one_escaped_line(text: str, longest: int) -> None:
    line = cut(text, longest)
    assert len(line) <= longest
    assert line.isprintable() or line == ""
    assert not set("<>\"'") & set(words(text, longest))


def test_short_labels_tell_cells_apart() -> None:
    labels = ["gptq 4-bit g64", "gptq 3-bit g64", "hqq 4-bit g64", "hqq 4-bit g32", "mine"]
    assert short_labels({label: label.split()[0] for label in labels}) == {
        "gptq 4-bit g64": "gptq 4-bit",
        "gptq 3-bit g64": "gptq 3-bit",
        "hqq 4-bit g64": "hqq 4-bit g64",
        "hqq 4-bit g32": "hqq 4-bit g32",
        "mine": "mine",
    }


@given(st.lists(st.text(), max_size=6, unique=True))
def test_short_labels_stay_distinct(labels: list[str]) -> None:
    short = short_labels(dict.fromkeys(labels, "m"))
    assert set(short) == set(labels)
    shortened = [short[label] for label in labels if short[label] != label]
    assert len(set(shortened)) == len(shortened)


def test_an_axis_is_logarithmic_only_where_the_range_wants_it() -> None:
    assert axis("t", [1.0, 2.0])["type"] == "linear"
    assert axis("t", [0.0, 100.0])["type"] == "linear"
    assert axis("t", [1.0, 100.0])["type"] == "log"
    assert "logarithmic" in axis("t", [1.0, 100.0])["title"]["text"]


def test_a_point_alone_is_no_picture_and_packing_is_lossless() -> None:
    assert drawn([factory.record()])[1].chapters == []
    assert drawn([])[1].chapters == []
    assert drawn([factory.failed()])[1].chapters == []
    value = {"a": [1, 2.5, None, "ü</script>\u2028"]}
    assert unpack(pack(value)) == value
    assert pack(value) == pack(value)


def test_a_quality_that_is_ruined_makes_its_axis_logarithmic_early() -> None:
    ratios = [1.0, 1.02, 3.2]
    assert axis("t", ratios)["type"] == "linear"
    assert axis("t", ratios, RATIO.wide)["type"] == "log"
    assert axis("t", ratios[:2], RATIO.wide)["type"] == "linear"

"""What the table is drawn from: columns, packed lists, names, marks; against the frame and brute force."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.report.leaderboard.columnar import packed
from qbench.report.view.best import find_best
from qbench.report.view.context import compared, plain_rows
from qbench.report.view.names import short
from qbench.results.columns.column import GROUPS
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from qbench.results.table.columns import columns, usual
from tests.report.conftest import cell, table_data
from tests.results import factory

RECORDS = [factory.record(), cell("absmax 8", 8.25, 1.001), cell("absmax 4", 4.25, 1.2), factory.failed()]


def unpacked(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values["of"][place] for place in values["at"]]


@given(st.lists(st.one_of(st.none(), st.integers(0, 5), st.text(max_size=2))))
def test_packing_loses_nothing_and_never_grows_the_list(values: list[Any]) -> None:
    found = packed(values)
    assert unpacked(found) == values
    assert isinstance(found, list) or 2 * len(found["of"]) <= len(values)


def test_every_number_is_the_frames_and_every_null_has_a_reason() -> None:
    frame = from_records(RECORDS)
    data = json.loads(json.dumps(table_data(plain_rows(frame))))
    keys = [f"{row.run}/{row.cell_id}" for row in frame.itertuples()]
    order = [keys.index(key) for key in data["keys"]]
    assert sorted(order) == list(range(len(RECORDS)))
    for column in data["columns"]:
        name = column["name"]
        values = unpacked(data["values"][name])
        if column["number"]:
            expected = frame[name].astype("float64").iloc[order]
            assert [value for value in values if value is not None] == expected.dropna().tolist()
            texts = unpacked(data["texts"][name])
            assert [text is None for text in texts] == expected.isna().tolist()
        if None in values:
            reasons = unpacked(data["reasons"][name])
            assert [reason is None for reason in reasons] == [value is not None for value in values]
            assert all(reasons[place] for place, value in enumerate(values) if value is None)


def test_every_column_of_the_frame_has_a_title_and_a_group() -> None:
    shown = {name: column for name, column in columns().items() if not column.hidden}
    assert set(columns()) - set(shown) == {"label", "missing", "tasks"}
    assert {column.group for column in shown.values()} <= set(GROUPS)
    titles = [column.head for column in shown.values()]
    assert len(set(titles)) == len(titles)
    assert "task_accuracy" in [column.name for column in usual("page")]
    assert shown["kl_max"].title == "KL max"  # a maximum over tokens, no slowest round
    assert shown["kv_cache_bytes_per_token"].title == "KV cache per token"
    assert (shown["prefill_s"].least, shown["prefill_s"].high) == ("prefill_s_min", "prefill_s_high")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("gptq num_bits=4 strategy=group group_size=64", "gptq 4-bit g64"),
        ("absmax num_bits=8 strategy=channel activations=none", "absmax 8-bit channel weights only"),
        ("fp8 format=e5m2", "fp8 e5m2"),
        ("zeropoint num_bits=4 strategy=group group_size=null", "zeropoint 4-bit group group_size=null"),
        ("my own = label", "my own = label"),
        ("int4 range=mse", "int4 range=mse"),
    ],
)
def test_short_names_are_the_fields_words(label: str, name: str) -> None:
    assert short(label) == name


def row(value: float, spread: float | None, **changes: Any) -> dict[str, Any]:
    known = dict.fromkeys(columns())
    ends = (None, None) if spread is None else (value - spread, value + spread)
    return {
        **known, "status": "ok", "method": "absmax", "label": "x", "missing": {},
        "top1_agreement": value, "top1_agreement_low": ends[0], "top1_agreement_high": ends[1],
        "perplexity": value, "perplexity_low": ends[0], "perplexity_high": ends[1], **changes,
    }  # fmt: skip


ONE = st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.sampled_from("abc"))


@given(st.lists(ONE, min_size=2, max_size=6))
def test_the_marked_ones_beat_every_other_method_beyond_both_intervals(
    found: list[tuple[float, float, str]],
) -> None:
    rows = [row(value, spread, label=label) for value, spread, label in found]
    shown = [columns()["top1_agreement"], columns()["perplexity"]]
    expected = set()
    for method in "abc":
        own = [one for one in found if one[2] == method]
        others = [one for one in found if one[2] != method]
        marked = [place for place, one in enumerate(found) if one[2] == method and others]
        if all(one[0] - one[1] > other[0] + other[1] for one in own for other in others):
            expected |= {(place, "top1_agreement") for place in marked}  # higher is better
        if all(one[0] + one[1] < other[0] - other[1] for one in own for other in others):
            expected |= {(place, "perplexity") for place in marked}
    assert find_best(rows, shown) == expected


def test_repetitions_that_agree_to_the_last_bit_are_both_marked() -> None:
    shown = [columns()["weight_bytes"]]
    rows = [row(0.5, 0.1, label=label, repetition=n, weight_bytes=size)
            for label, size in (("a", 10), ("b", 20)) for n in (0, 1)]  # fmt: skip
    assert find_best(rows, shown) == {(0, "weight_bytes"), (1, "weight_bytes")}


def test_nothing_is_marked_where_one_has_no_interval() -> None:
    shown = [columns()["top1_agreement"], columns()["decode_s_per_token"]]
    rows = [row(0.9, 0.01), row(0.5, None, label="y")]
    for place, one in enumerate(rows):  # ranges of few rounds are no intervals
        one.update(
            decode_s_per_token=1.0 + place,
            decode_s_per_token_min=0.9 + place,
            decode_s_per_token_max=1.1 + place,
        )
    assert find_best(rows, shown) == set()


def test_what_was_scored_by_two_protocols_is_not_compared() -> None:
    def scored(record: Record, seqlen: int) -> Record:
        found = {**record.samples["perplexity"], "seqlen": seqlen}
        quality = {**record.cell.sections["quality"], "seqlen": seqlen}
        changed = dataclasses.replace(record.cell, sections={**record.cell.sections, "quality": quality})
        return dataclasses.replace(record, cell=changed, samples={**record.samples, "perplexity": found})

    records = [scored(one, seqlen) for one, seqlen in itertools.product(RECORDS[:3], (512, 256))]
    groups = compared(plain_rows(from_records([*records, RECORDS[3]])))
    assert [title.rpartition(" · ")[2].split(",")[1] for title, _ in groups] == [" 256 tokens", " 512 tokens"]
    assert [len(members) for _, members in groups] == [4, 3]
    for _, members in groups:
        assert len({one["perplexity_protocol"] for one in members} - {None}) == 1


def timed(label: str, steps: list[float]) -> Record:
    one = cell(label, 4.25, 1.1)
    latency = factory.latency([0.01] * len(steps), [[seconds] for seconds in steps])
    return dataclasses.replace(one, samples={**one.samples, "latency": latency})


def test_the_ends_of_an_interval_have_unit_and_digits_of_its_number() -> None:
    nll = [2000.0 + 3 * (-1) ** place for place in range(4)]
    base = factory.record(samples=factory.samples(perplexity=factory.perplexity(nll)))
    rows = plain_rows(
        from_records([base, timed("slow", [30.0, 35.0, 41.0]), timed("a", [0.0042, 0.005, 0.006])])
    )
    data = table_data(rows)
    heads = {column["name"]: column for column in data["columns"]}
    texts = {name: unpacked(values) for name, values in data["texts"].items()}
    value, _, spread = texts["perplexity"][0].partition(" ± ")
    assert len(texts["perplexity_low"][0].partition(".")[2]) == len(value.partition(".")[2]) > 0
    assert float(texts["perplexity_high"][0]) == pytest.approx(float(value) + float(spread), rel=0.01)
    name = "decode_s_per_token"
    assert heads[f"{name}_min"]["unit"] == heads[name]["unit"] == "ms/token"
    slow = unpacked(data["labels"]).index("slow")
    assert data["alone"][name][slow] == ["35 ± 6", "s/token"]
    assert data["alone"][f"{name}_min"][slow] == ["30", "s/token"]
    assert data["alone"][f"{name}_max"][slow] == ["41", "s/token"]
    assert unpacked(data["labels"]).index("a") not in data["alone"][name]

"""Two runs side by side: equality to the last bit, ratios with their range, what is missing or differs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from qbench.errors import ResultsError
from qbench.report.compare.compare_terminal import drawn
from qbench.results.compare.compare import WINDOWS, compare, compare_folders
from qbench.results.compare.comparison import Comparison
from qbench.results.store.folders import write_manifest
from qbench.results.store.manifest_facts import differing, facts
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from tests.results import factory


def changed(record: Record, probe: str, **values: Any) -> Record:
    return replace(record, samples={**record.samples, probe: {**record.samples[probe], **values}})


def text(found: Comparison) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(drawn(found))
    return capture.get()


RECORDS = [factory.record(), factory.record("absmax"), factory.record("int4")]


def test_equal_records_are_identical_bit_for_bit() -> None:
    found = compare(RECORDS, RECORDS)
    assert found.verdict == "identical bit for bit: 3 of 3 cells"
    assert {one.ratio for pair in found.pairs for one in pair.timed} == {1.0}
    compared = set(found.pairs[1].compared)
    assert {"perplexity", "weight_bytes", "kv_cache_bytes", "bits_per_weight", WINDOWS} <= compared
    assert not {name for name in compared if name != WINDOWS and METRICS[name].kind != "deterministic"}
    assert "environments: equal" in text(found)


@pytest.mark.parametrize("window", range(factory.WINDOWS))
def test_one_bit_of_one_window_is_a_difference(window: int) -> None:
    nll = list(RECORDS[1].samples["perplexity"]["nll"])
    first = nll[window]
    nll[window] = math.nextafter(first, math.inf)
    found = compare(RECORDS, [RECORDS[0], changed(RECORDS[1], "perplexity", nll=nll), RECORDS[2]])
    assert found.verdict == "identical bit for bit: 2 of 3 cells"
    (pair,) = [pair for pair in found.pairs if not pair.identical]
    assert pair.label == "absmax"
    by_name = {one.metric: (one.a, one.b) for one in pair.differences}
    assert by_name[WINDOWS] == (first, nll[window])
    shown = text(found)
    assert repr(first) in shown
    assert repr(nll[window]) in shown, "two numbers that differ look equal"


def test_errors_that_cancel_in_the_mean_are_seen() -> None:
    nll = list(RECORDS[0].samples["perplexity"]["nll"])
    swapped = [nll[1], nll[0], *nll[2:]]
    found = compare(RECORDS[:1], [changed(RECORDS[0], "perplexity", nll=swapped)])
    assert [one.metric for one in found.pairs[0].differences] == [WINDOWS]


def test_a_byte_more_and_a_number_that_is_gone_are_differences() -> None:
    other = changed(RECORDS[0], "memory", weight_bytes=11_600_001, kv_cache_bytes=None)
    differences = {one.metric: (one.a, one.b) for one in compare(RECORDS[:1], [other]).pairs[0].differences}
    assert differences == {"weight_bytes": (11_600_000, 11_600_001), "kv_cache_bytes": (393_216, None)}


def test_what_may_vary_is_a_ratio_with_the_range_of_the_rounds() -> None:
    latency = factory.latency([0.02, 0.03, 0.04], [[0.01], [0.02], [0.03]])
    before = replace(RECORDS[0], samples={**RECORDS[0].samples, "latency": latency})
    later = factory.latency([0.04, 0.06, 0.06], [[0.01], [0.01], [0.01]])
    found = compare([before], [replace(before, samples={**before.samples, "latency": later})])
    assert found.pairs[0].identical, "a time made a cell different"
    timed = {one.metric: one for one in found.pairs[0].timed}
    prefill = timed["prefill_s"]
    assert (prefill.a, prefill.b, prefill.ratio) == (0.03, 0.06, pytest.approx(2.0))
    assert (prefill.low, prefill.high) == (pytest.approx(0.04 / 0.04), pytest.approx(0.06 / 0.02))
    assert (timed["load_s"].low, timed["load_s"].high) == (None, None)


def test_cells_that_one_side_lacks_or_failed_are_named() -> None:
    failed = factory.failed("int4", reason="ValueError: group_size 7")
    found = compare(RECORDS, [RECORDS[0], failed, factory.record("gptq")])
    assert found.only_a == ("austen-6m absmax bf16 cpu (ok)",)
    assert found.only_b == ("austen-6m gptq bf16 cpu (ok)",)
    assert found.not_ok == ("austen-6m int4 bf16 cpu: B: failed, ValueError: group_size 7",)
    assert len(found.pairs) == 1
    assert compare(RECORDS, []).verdict == (
        "no cell was measured on both sides: nothing was compared; 3 cells are in A only"
    )


def test_differing_environments_are_listed_and_the_load_is_not_one() -> None:
    manifest = factory.MANIFEST
    records = [replace(RECORDS[0], environment={"threads": threads}) for threads in (2, 2)]
    flags = [f"flag{number}" for number in range(100)]
    environment = {**manifest["environment"], "load_average": [1, 2, 3]}
    environment["cpu"] = {**environment["cpu"], "flags": flags}
    other = json.loads(json.dumps(environment))
    other["load_average"] = [7, 7, 7]
    other["packages"]["torch"] = "2.11.0"
    other["cpu"]["flags"] = [*flags[1:], "amx"]
    del other["gpus"][0]
    a = facts({"environment": environment}, records)
    b = facts({"environment": other}, [replace(RECORDS[0], environment={"threads": 1})])
    assert differing(a, a) == []
    assert differing(a, b) == [
        "cpu.flags: A: flag0; B: amx",
        "gpus.0.driver: A: 570.1; B: –",
        "gpus.0.name: A: NVIDIA H100; B: –",
        "packages.torch: A: 2.13.0; B: 2.11.0",
        "threads: A: 2; B: 1",
    ]


def test_folders_are_compared_by_their_newest_runs(tmp_path: Path) -> None:
    other = changed(RECORDS[0], "memory", weight_bytes=1)
    a = factory.write_run(tmp_path / "a", RECORDS)
    factory.write_run(tmp_path / "b", [other], run="20251121T105600Z-ab12cd")
    factory.write_run(tmp_path / "b", RECORDS[1:])
    found = compare_folders(tmp_path / "a", tmp_path / "b")
    said = "identical bit for bit: 2 of the 2 cells that ended well on both sides; 1 cell is in A only"
    assert found.verdict == said
    assert len(found.only_a) == 1
    assert compare_folders(a, a).verdict == "identical bit for bit: 3 of 3 cells"
    write_manifest(a, {**factory.MANIFEST, "environment": {"qbench": "9"}})
    assert "qbench: A: 9; B: 0.1.0" in compare_folders(a, tmp_path / "b").environment
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match=r"no runs in .*empty"):
        compare_folders(a, tmp_path / "empty")


def test_the_json_holds_everything(tmp_path: Path) -> None:
    found = compare(
        RECORDS, [changed(RECORDS[0], "memory", weight_bytes=1), *RECORDS[1:]], ["os: A: x; B: y"]
    )
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["verdict"] == found.verdict
    assert data["environment"] == ["os: A: x; B: y"]
    assert [len(pair["differences"]) for pair in data["pairs"]] == [1, 0, 0]


def _deep() -> Record:
    """A record with divergence by window and a task of three documents."""
    quantiles = dict.fromkeys(("0.5", "0.9", "0.95", "0.99", "0.999"), 1e-3)
    divergence = {"scored": [511] * factory.WINDOWS, "kl": [0.5] * 8, "agree": [500] * 8,
                  "delta_p_squared": [0.1] * 8, "kl_quantiles": quantiles, "kl_max": 2.0}  # fmt: skip
    task = {"name": "quiz", "items": {"acc,none": [1.0, 0.0, 1.0], "f1,none": [[1.0, 0.5]] * 3},
            "log_likelihoods": [[-1.0, -2.0]] * 3, "results": {}, "documents": 3}  # fmt: skip
    sample = {"unit": "nat", "tasks": [task], "groups": [], "entries": {}}
    record = factory.record("absmax", samples=factory.samples(tasks=sample))
    return changed(record, "perplexity", divergence=divergence)


@pytest.mark.parametrize(
    ("probe", "path", "value", "named"),
    [
        ("perplexity", ("divergence", "kl", 3), 0.5 + 2**-53, ["kl by window"]),
        ("perplexity", ("divergence", "agree", 7), 501, ["top-1 agreement by window"]),
        ("tasks", ("tasks", 0, "items", "acc,none", 1), 1.0, ["quiz acc,none by document"]),
        ("tasks", ("tasks", 0, "items", "f1,none", 2), [1.0, 0.25], ["quiz f1,none by document"]),
        ("tasks", ("tasks", 0, "log_likelihoods", 1), [-1.0, -2.5], ["quiz log likelihood by document"]),
    ],
)
def test_what_stands_behind_divergence_and_tasks_is_compared_too(
    probe: str, path: tuple[Any, ...], value: Any, named: list[str]
) -> None:
    """Two sums may cancel, and two documents may change places, with the metric the same."""
    record = _deep()
    samples = json.loads(json.dumps(record.samples))
    *way, last = path
    inside = samples[probe]
    for key in way:
        inside = inside[key]
    before, inside[last] = inside[last], value
    other = replace(record, samples=samples)
    assert compare([record], [record]).pairs[0].identical
    found = {one.metric: (one.a, one.b) for one in compare([record], [other]).pairs[0].differences}
    assert set(named) <= set(found)
    ends = [one[-1] if isinstance(one, list) else one for one in (before, value)]
    assert found[named[0]] == tuple(ends)

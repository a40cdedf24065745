"""Series over a tree of days whose truth is known: segments, change points, commits, gaps."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import qbench
from qbench.errors import ResultsError, SuiteError
from qbench.results.history.history import NO_MANIFEST, metrics, read_series
from qbench.results.history.history_frame import COLUMNS
from qbench.results.history.runs import comparable, differing_facts
from qbench.results.history.series import Series
from qbench.results.store.folders import MANIFEST, Store
from qbench.results.table.metrics import METRICS
from qbench.run.provenance.environment import fingerprint
from tests.results import factory
from tests.results.history.runs import COMMITS, environment, run_name, timed, write_run

SLOWER, MOVED, FAILS, LOST = 14, 24, 9, 11
"""Nights: int4 gets slower; the machine changes; int4 fails; its record is lost."""
LAST = 32


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`none` and `int4` over 32 days; `gptq` over 20, its perplexity another from the tenth on."""
    root = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(1)
    for day in range(LAST):
        machine = environment() if day < MOVED else environment(gpus=[], cpu={"model": "Xeon", "cores": 2})
        speed = np.exp(0.01 * rng.standard_normal(2)) * (1.0 if day < MOVED else 2.0)
        int4 = timed("int4", 0.002 * speed[1] * (1.1 if day >= SLOWER else 1.0))
        if day == FAILS:
            int4 = dataclasses.replace(
                int4, status="oom", reason="4 GB were not enough", samples={}, layers=[]
            )
        records = [timed("none", 0.004 * speed[0]), *([int4] if day != LOST else [])]
        if day < 20:
            records.append(timed("gptq", 0.003, 1.0 if day < 10 else 1.001))
        write_run(root, day, records, planned={int4.cell.id: "int4"}, machine=machine)
    return root


def only(tree: Path, metric: str, method: str) -> Series:
    [found] = read_series(Store(tree), metric, rules=[{"method": [method]}])
    return found


def test_a_slowdown_a_new_machine_and_gaps(tree: Path) -> None:
    series = only(tree, "decode_s_per_token", "int4")
    assert [(change.kind, change.place) for change in series.changes] == [
        ("change point", SLOWER),
        ("environment", MOVED),
    ]
    slower, moved = series.changes
    assert slower.commits == f"{COMMITS[SLOWER - 1][:8]}..{COMMITS[SLOWER][:8]}"
    assert slower.ratio == pytest.approx(1.1, rel=0.01)
    assert moved.facts[0] == "cpu: AMD EPYC 9B45 → Xeon"
    assert not any("gpu" in fact for fact in moved.facts), "another GPU changes nothing on the processor"
    assert [(point.run.name, point.status) for point in series.gaps] == [
        (run_name(FAILS), "oom"),
        (run_name(LOST), "missing"),
    ]
    assert series.gaps[0].reason == "oom: 4 GB were not enough"
    assert series.segments() == [0] * SLOWER + [1] * (MOVED - SLOWER) + [2] * (LAST - MOVED)


def test_a_deterministic_number_changes_where_it_is_another(tree: Path) -> None:
    series = only(tree, "perplexity", "gptq")
    assert [change.place for change in series.changes] == [10]
    assert series.changes[0].new == pytest.approx(
        float(np.exp(1.001 * np.sum(factory.LOSSES) / (factory.TOKENS * factory.WINDOWS)))
    )
    assert len(series.points) == 20, "a cell that left the suite has no endless gap"
    assert series.left is not None
    assert series.left.name == run_name(20)
    assert only(tree, "perplexity", "none").left is None


def test_the_commit_before_a_change_is_that_of_the_last_value(tree: Path, tmp_path: Path) -> None:
    """Nights without a value widen the range, since nothing is known of their commits."""
    for day in range(20):
        record = timed("int4", 0.002 if day < 10 else 0.003)
        if day in (9, 10):
            record = dataclasses.replace(record, status="failed", reason="x", samples={}, layers=[])
        write_run(tmp_path, day, [record])
    [change] = only(tmp_path, "decode_s_per_token", "int4").changes
    assert change.commits == f"{COMMITS[8][:8]}..{COMMITS[11][:8]}"


def test_the_frame_is_tidy(tree: Path) -> None:
    frame = qbench.history(tree)
    assert list(frame.columns) == list(COLUMNS)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        name: dtype for name, (dtype, _) in COLUMNS.items()
    }
    assert not frame.duplicated(["suite", "run", "cell_id", "metric"]).any()
    one = frame[(frame.metric == "decode_s_per_token") & (frame.method == "int4")]
    assert len(one) == LAST
    assert one.value.isna().sum() == 2
    assert one.reason.notna().sum() == 2
    begins = one[one.is_change_point]
    assert begins.run.tolist() == [run_name(SLOWER)]
    assert begins.commit_before.tolist() == [COMMITS[SLOWER - 1]]
    assert one[one.is_environment_change].run.tolist() == [run_name(MOVED)]
    assert one.environment.nunique() == 2
    assert json.loads(one.environment_facts.iloc[-1])["cpu"] == "Xeon"
    perplexity = frame[frame.metric == "perplexity"]
    whole = perplexity.dropna(subset="value")
    assert (whole.low < whole.value).all()
    pd.testing.assert_frame_equal(
        qbench.history(tree, "perplexity").reset_index(drop=True),
        perplexity.reset_index(drop=True),
        check_categorical=False,
    )


def test_values_are_those_of_load(tree: Path) -> None:
    loaded = qbench.load(tree, runs="all").set_index(["run", "cell_id"])
    frame = qbench.history(tree)
    for metric, rows in frame.dropna(subset="value").groupby("metric", observed=True):
        keys = list(zip(rows.run, rows.cell_id, strict=True))
        assert loaded.loc[keys, str(metric)].astype("float64").tolist() == rows.value.tolist(), metric


def test_every_number_that_is_no_fact_has_a_history() -> None:
    measured = {name for name, metric in METRICS.items() if metric.kind in ("deterministic", "timed")}
    assert len(measured) > 60
    assert measured <= set(metrics())
    assert "perplexity_ratio" in metrics()


def test_comparable_facts_are_those_that_a_run_is_resumed_by() -> None:
    """All but qbench itself: `fingerprint` and `comparable` must not drift apart."""
    base = environment()
    ours, theirs = comparable(base), fingerprint({**base, "git": None})
    for change in (
        {"cpu": {**base["cpu"], "model": "another"}},
        {"cpu": {**base["cpu"], "cores": 64}},
        {"python": "3.12.1"},
        {"gpus": [{"name": "NVIDIA H100", "driver": "571"}]},
        *({"packages": {**base["packages"], name: "9"}} for name in ("torch", "transformers", "tokenizers")),
    ):
        changed = {**base, **change}
        assert comparable(changed) != ours, change
        assert fingerprint({**changed, "git": None}) != theirs, change
    for change in ({"python": "3.11.2"}, {"variables": {"X": "1"}}, {"qbench": "9"}):
        assert comparable({**base, **change}) == ours


def test_the_same_machine_again_is_a_new_segment_each_time(tmp_path: Path) -> None:
    """Runners that take turns: nothing is compared across, and no regression is claimed."""
    for day in range(12):
        other = day % 2
        machine = environment(cpu={"model": f"CPU {other}", "cores": 2})
        write_run(tmp_path, day, [timed("none", 0.004 * (1 + other))], machine=machine)
    series = only(tmp_path, "decode_s_per_token", "none")
    assert {change.kind for change in series.changes} == {"environment"}
    assert len(series.changes) == 11


def test_two_cells_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for day in range(2):
        write_run(tmp_path, day, [timed("none", 0.004), timed("none", 0.004, seed=1)])
    names = {series.cell for series in read_series(Store(tmp_path), "perplexity")}
    assert len(names) == 2
    assert all(name.startswith("austen-6m none bf16 cpu #") for name in names)


def test_a_lost_manifest_leaves_the_numbers(tmp_path: Path) -> None:
    for day in range(3):
        folder = write_run(tmp_path, day, [timed("none", 0.004)])
    (folder / MANIFEST).write_text("{")
    frame = qbench.history(tmp_path, "perplexity")
    assert frame.value.notna().all()
    assert len(frame.attrs["problems"]) >= 1
    assert frame.commit.isna().tolist() == [False, False, True]
    assert str(frame.started_at.iloc[-1].date()) == "2026-09-03", "the run's name tells the day"


@pytest.mark.parametrize("lost", [0, 33, 39], ids=["first", "between", "newest"])
def test_a_lost_manifest_splits_no_series(tmp_path: Path, lost: int) -> None:
    """Two kinds of numbers have one true step each, and none on the day whose machine is unknown."""
    rng = np.random.default_rng(3)
    for day in range(40):
        seconds = 0.004 * float(np.exp(0.01 * rng.standard_normal())) * (1.2 if day >= 30 else 1.0)
        folder = write_run(tmp_path, day, [timed("none", seconds, 1.0 if day < 30 else 1.001)])
        if day == lost:
            (folder / MANIFEST).unlink()
    store = Store(tmp_path, strict=False)
    for series in read_series(store):
        if series.metric in ("decode_s_per_token", "perplexity"):
            assert [(one.kind, one.place) for one in series.changes] == [("change point", 30)], series.metric
            assert len(series.measured) == 40
        else:
            assert not any(one.kind == "environment" for one in series.changes), series.metric
    assert any(MANIFEST in problem and run_name(lost) in problem for problem in store.problems)


def test_an_unknown_machine_between_two_is_neither(tmp_path: Path) -> None:
    """Whichever it was, its number differs from the other's: no step may be claimed within one of them."""
    for was in ("old", "new"):
        for day in range(20):
            moved = day > 10 or (day == 10 and was == "new")
            machine = environment(packages={"torch": "2.14.0" if moved else "2.13.0"})
            record = timed("none", 0.004, 1.001 if moved else 1.0)
            folder = write_run(tmp_path / was, day, [record], machine=machine)
            if day == 10:
                (folder / MANIFEST).write_text("{")
        [series] = read_series(Store(tmp_path / was, strict=False), "perplexity")
        assert [(one.kind, one.place) for one in series.changes] == [("environment", 11)]
        assert series.changes[0].facts == ("torch: 2.13.0 → 2.14.0",)


def test_a_gap_says_that_its_record_could_not_be_read(tmp_path: Path) -> None:
    """With the manifest and without; a cell whose manifest is lost was not dropped from the suite."""
    cell = timed("none", 0.004).cell.id
    for day in range(6):
        folder = write_run(tmp_path, day, [timed("none", 0.004), timed("int4", 0.002)])
        if day in (2, 3):
            (folder / f"{cell}.json").write_text('{"schema": ')
        if day in (3, 4, 5):
            (folder / MANIFEST).unlink()
        if day in (4, 5):
            (folder / f"{cell}.json").unlink()
    [series] = read_series(Store(tmp_path, strict=False), "perplexity", rules=[{"method": ["none"]}])
    assert [point.run.name for point in series.gaps] == [run_name(2), run_name(3)]
    for gap in series.gaps:
        assert gap.status == "missing"
        assert (gap.reason or "").startswith(f"its record could not be read: {cell}.json is no whole JSON")
        assert str(tmp_path) not in (gap.reason or "")
    assert series.left is None, "nobody knows what days 4 and 5 had planned"
    write_run(tmp_path, 6, [timed("none", 0.004)])
    [series] = read_series(Store(tmp_path, strict=False), "perplexity", rules=[{"method": ["none"]}])
    assert [point.reason for point in series.gaps[2:]] == [NO_MANIFEST] * 2


def test_mistakes_name_the_way_out(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="did you mean 'perplexity'"):
        qbench.history(tree, "perplexty")
    with pytest.raises(ResultsError, match="no runs"):
        qbench.history(tmp_path)
    with pytest.raises(ResultsError, match="did you mean 'nightly'"):
        read_series(Store(tree), suite="nightli")
    with pytest.raises(SuiteError, match="did you mean 'int4'"):
        read_series(Store(tree), rules=[{"method": ["int5"]}])


def test_facts_that_differ_are_said_as_before_and_after() -> None:
    assert differing_facts({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b: 2 → 3",
        "c: none → 4",
    ]


def test_the_command_line(tree: Path, tmp_path: Path) -> None:
    def said(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qbench", "history", *words], capture_output=True, text=True
        )

    done = said("decode_s_per_token", str(tree), "--filter", "method=int4")
    assert done.returncode == 0, done.stderr
    for text in ("austen-6m int4 bf16 cpu", "2026-09-15 worse by ", f"{COMMITS[13][:8]}..{COMMITS[14][:8]}",
                 "4 GB were not enough", "new environment", "▁"):  # fmt: skip
        assert text in done.stdout
    assert "none bf16" not in done.stdout
    table = tmp_path / "x.parquet"
    assert said("all", str(tree), "--export", str(table), "--html", str(tmp_path / "x.html")).returncode == 0
    assert len(pd.read_parquet(table)) == len(qbench.history(tree))
    assert "Trends of nightly" in (tmp_path / "x.html").read_text()
    empty = said("energy_j_per_token", str(tree))
    assert (empty.returncode, empty.stdout) == (0, "no run has measured energy_j_per_token\n")
    wrong = said("decode", str(tree))
    assert wrong.returncode == 2
    assert "decode_speedup" in wrong.stderr

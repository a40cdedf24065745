"""Reading by several processes gives what one gives: rows, order, problems and errors."""

from __future__ import annotations

import gc
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qbench.errors import ResultsError
from qbench.report.leaderboard.leaderboard import write_report
from qbench.results.frames.frame import load
from qbench.results.stats.bootstrap import _percentiles, _quantiles
from qbench.results.store import parallel
from tests.results.many import write_many


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_many(tmp_path, 60, layers=2)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of them, for parts of seven files."""
    monkeypatch.setattr(parallel, "PART", 7)
    monkeypatch.setattr(parallel, "processes", lambda items: 3)


def test_children_read_the_same(folder: Path, request: pytest.FixtureRequest) -> None:
    alone = load(folder)
    request.getfixturevalue("children")
    pd.testing.assert_frame_equal(load(folder), alone)
    assert len(alone) == 60


@pytest.mark.usefixtures("children")
def test_problems_come_back_in_order_and_errors_are_raised(folder: Path) -> None:
    broken = sorted(folder.glob("[0-9a-f]*.json"))[3::11]
    for path in broken:
        path.write_text("{")
    frame = load(folder, strict=False)
    assert len(frame) == 60 - len(broken)
    found = frame.attrs["problems"]
    assert [path.name in problem for path, problem in zip(broken, found, strict=True)] == [True] * len(broken)
    with pytest.raises(ResultsError, match=broken[0].name):
        load(folder)


def test_few_files_are_read_here_and_many_by_as_many_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda pid: set(range(4)))
    monkeypatch.setattr(parallel.sys, "platform", "linux")
    assert [parallel.processes(count) for count in (0, 999, 1000, 100_000)] == [1, 1, 4, 4]
    monkeypatch.setattr(parallel.sys, "platform", "darwin")
    assert parallel.processes(100_000) == 1


def test_garbage_collection_is_as_it_was_even_after_an_error() -> None:
    def fail() -> None:
        with parallel.uncollected():
            assert not gc.isenabled()
            raise ValueError("x")

    for switch, enabled in ((gc.disable, False), (gc.enable, True)):
        switch()
        with pytest.raises(ValueError, match="x"):
            fail()
        assert gc.isenabled() is enabled


@pytest.mark.parametrize("draws", [2, 3, 40, 1000, 1001])
def test_quantiles_are_those_of_numpy_to_the_last_bit(draws: int) -> None:
    values = np.random.default_rng(draws).normal(size=(20, draws)) * math.pi
    shares = (0.0, 0.025, 0.5, 0.975, 1.0)
    expected = np.quantile(values, shares, axis=1)
    np.testing.assert_array_equal(_quantiles(values.copy(), shares), expected)


def test_children_read_the_same_page(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    alone = write_report(folder, tmp_path / "alone.html", plotlyjs="cdn").read_bytes()
    request.getfixturevalue("children")
    assert write_report(folder, tmp_path / "together.html", plotlyjs="cdn").read_bytes() == alone


@pytest.mark.parametrize("cells", [0, 1, 256, 257])
@pytest.mark.parametrize("windows", [2, 40])
def test_percentiles_of_some_cells_at_a_time_are_those_of_all(cells: int, windows: int) -> None:
    rng = np.random.default_rng(cells * windows)
    sums, weights = rng.normal(size=(cells, windows)), rng.normal(size=(windows, 101))
    draws = np.array([[math.fsum(row * column) for column in weights.T] for row in sums]).reshape(cells, 101)
    shares = (0.025, 0.975)
    expected = np.quantile(draws, shares, axis=1) if cells else np.empty((2, 0))
    np.testing.assert_allclose(_percentiles(sums, weights, shares), expected, rtol=0, atol=1e-11)


@pytest.mark.usefixtures("children")
def test_tasks_side_by_side_keep_their_order_and_raise_what_one_raises() -> None:
    rows = list(range(100))
    tasks = [lambda place=place: rows[place] ** 2 for place in (7, 3, 99, 0, 5)]
    assert parallel.together(tasks, 10_000) == [49, 9, 9801, 0, 25]
    assert parallel._work is None
    with pytest.raises(IndexError):
        parallel.together([tasks[0], lambda: rows[100]], 10_000)

"""Ten thousand records: read into a frame in under 2 s and made a page of in under 10 s, on 2 cores.

The records are as large as real ones (`tests/results/many.py`: 31 kB, 40 windows with divergence, 7 rounds of
16 tokens, 24 layers each; 290 MB in all). Files are in the cache, as after a run. Asserted where timing
is on (`make bench`); an ordinary test run walks through the same code once with a few dozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qbench
from qbench.report.leaderboard.leaderboard import write_report
from tests.results.many import write_many

RECORDS = 10_000
LOAD_S, REPORT_S = 2.0, 10.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Ten thousand records where timing is on."""
    if not request.config.getoption("benchmark_enable"):  # the project's own options disable it otherwise
        return write_many(tmp_path_factory.mktemp("few"), 40)
    return write_many(tmp_path_factory.mktemp("many"), RECORDS)


@pytest.mark.timeout(600)
def test_loading(benchmark: Any, folder: Path) -> None:
    frame = benchmark.pedantic(qbench.load, args=(folder,), rounds=3, warmup_rounds=1)
    assert frame["perplexity_ratio_low"].notna().sum() == (frame["status"] == "ok").sum()
    if not benchmark.disabled:
        assert len(frame) == RECORDS
        assert benchmark.stats.stats.min < LOAD_S


@pytest.mark.timeout(600)
def test_reporting(benchmark: Any, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "leaderboard.html"
    benchmark.pedantic(write_report, args=(folder, page), rounds=1)
    assert page.stat().st_size > 100_000
    if not benchmark.disabled:
        assert benchmark.stats.stats.min < REPORT_S

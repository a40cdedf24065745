"""How long a reader of ten thousand rows waits, in Chromium: from the event to the frame with its result.

Measured inside the page: `performance.now` before the event, and in the second animation frame after it, when
the first has been painted. At 60 frames a second that alone is 17 to 33 ms; on two cores the median of every
event stays under 100 ms. And how long the page takes to make, of a frame that is there: records are read and
reported in under 10 s together, and rendering may take half of that.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qbench.report.leaderboard.leaderboard import render
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from tests.report.conftest import cell
from tests.results import factory

ROWS = 10_000
EVENT_MS = 100.0
"""Median from an event to the painted frame with its result."""
RENDER_S = 5.0
MODELS, METHODS = ("small", "middle", "large"), ("absmax", "gptq", "hqq", "int4", "zeropoint")
EVENTS = {
    "sort by a number": "click('perplexity')",
    "sort by a text": "click('label')",
    "filter": "choose('model', turn % 2 ? 'small' : 'large')",
    "filter away": "choose('model', turn % 2 ? '' : 'middle')",
    "search a word": "choose('search', turn % 2 ? 'gptq' : 'gptq 41')",
    "search a condition": "choose('search', turn % 2 ? 'bits<=4.5' : 'bits<=6 perplexity>60')",
    "scroll": "document.querySelector('.scroll').scrollTop = turn * 20011",
}
MEASURE = """
async ([event, turns]) => {
  const click = (name) => document.querySelector(`#table th[data-key="${name}"] button`).click();
  const choose = (name, value) => {
    const control = document.getElementById('filters').elements[name];
    control.value = value;
    control.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const act = { EVENTS }[event];
  const found = [];
  for (let turn = 0; turn < turns; turn++) {
    await painted();
    const start = performance.now();
    act(turn);
    await painted();
    found.push(performance.now() - start);
  }
  return found;
}
""".replace("EVENTS", ", ".join(f"{name!r}: (turn) => {steps}" for name, steps in EVENTS.items()))


def records() -> Iterator[Record]:
    yield factory.record()
    for place, (model, method) in zip(range(ROWS - 1), itertools.cycle(itertools.product(MODELS, METHODS))):
        one = cell(f"{method} {place}", 2 + place % 97 / 10, 1 + place % 389 / 1000)
        changed = factory.cell(
            method,
            label=f"{method} {place}",
            params={"bits": place},
            model=type(one.cell.model)(model, "builtin", model),
        )
        yield Record(**{**vars(one), "cell": changed})


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return from_records(records())


@pytest.fixture(scope="module")
def opened(browser: Any, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    target = tmp_path_factory.mktemp("many") / "page.html"
    target.write_text(render(frame))
    shown = browser.new_page(viewport={"width": 1440, "height": 900})
    shown.goto(target.as_uri())
    shown.evaluate("document.getElementById('leaderboard').scrollIntoView()")
    shown.wait_for_timeout(4000)  # until the pictures stand
    yield shown
    shown.close()


@pytest.mark.parametrize("event", EVENTS)
def test_from_the_event_to_the_painted_frame(benchmark: BenchmarkFixture, opened: Any, event: str) -> None:
    opened.evaluate("['sort', 'search', 'model'].forEach((key) => qbench.state.set(key, null))")
    taken = benchmark.pedantic(opened.evaluate, args=(MEASURE, [event, 20]), rounds=1)
    benchmark.extra_info["median_ms"] = statistics.median(taken)
    benchmark.extra_info["largest_ms"] = max(taken)
    print(f"\n{event}: median {statistics.median(taken):.0f} ms, largest {max(taken):.0f} ms")
    if benchmark.enabled:  # --benchmark-disable only asks whether it runs
        assert statistics.median(taken) < EVENT_MS, f"{event}: {taken}"


def test_the_page_of_a_frame_that_is_there(benchmark: BenchmarkFixture, frame: pd.DataFrame) -> None:
    page = benchmark.pedantic(render, args=(frame,), rounds=2)
    benchmark.extra_info["page_mb"] = len(page) / 1e6
    if benchmark.enabled:
        assert benchmark.stats.stats.max < RENDER_S

"""The trends page as text and as data, and in a real browser when one is installed."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest

from qbench.errors import ResultsError
from qbench.report.history.changes import change_words, gap_words
from qbench.report.history.figures import figure, span_of
from qbench.report.history.trends_page import build_trends, render_trends, shown, write_trends
from qbench.report.history.trends_text import BARS, drawn, sparkline
from qbench.report.html import page
from qbench.report.view.digits import Scale
from qbench.results.history.history import read_series
from qbench.results.history.series import Series
from qbench.results.store.folders import Store
from tests.report.browser.test_browser_compare import BROWSER, FLAGS
from tests.results.history.runs import COMMITS, environment, timed, write_run

RUNS = 30
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Series]:
    """Slower from day 12, a new torch on day 20, two days failed, no run on days 16 and 17."""
    root = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(2)
    for day in range(RUNS):
        if day in (16, 17):
            continue
        packages = {"torch": "2.13.0" if day < 20 else "2.14.0"}
        slow = timed("int4", 0.002 * np.exp(0.01 * rng.standard_normal()) * (1.2 if day >= 12 else 1))
        if day in (5, 6):
            slow = dataclasses.replace(slow, status="failed", reason=HOSTILE, samples={}, layers=[])
        hostile = timed("absmax", 0.003, label=HOSTILE)
        write_run(root, day, [slow, hostile], machine=environment(packages=packages))
    return shown(read_series(Store(root)))


def only(found: list[Series], metric: str, method: str) -> Series:
    return next(one for one in found if (one.metric, one.facts["method"]) == (metric, method))


def test_changes_and_gaps_in_words(found: list[Series]) -> None:
    series = only(found, "decode_s_per_token", "int4")
    worse, environment_ = change_words(series)
    assert (worse.sense, worse.date) == ("worse", "2026-09-13")
    assert re.fullmatch(r"worse by (19|20|21) %", worse.text)
    assert worse.commits == f"{COMMITS[11][:8]}..{COMMITS[12][:8]}"
    assert environment_.facts == ("torch: 2.13.0 → 2.14.0",)
    [gap] = gap_words(series)
    assert (gap.dates, gap.count) == ("2026-09-06 to 2026-09-07", 2)
    assert change_words(only(found, "prefill_s", "int4"))[0].sense == "worse"


def test_a_picture_is_a_plotly_figure_with_its_changes_and_gaps(found: list[Series]) -> None:
    series = only(found, "decode_s_per_token", "int4")
    made = figure(series, Scale(1e-3, "ms"), span_of(found))
    plotly.graph_objects.Figure(data=made["data"], layout=made["layout"])  # raises for what plotly lacks
    values, levels, changes, gaps = made["data"]
    assert values["x"].count(None) == 1, "days without a run break the line"
    assert [value for value in values["y"] if value] == [
        pytest.approx(point.value * 1e3) for point in series.measured if point.value
    ]
    assert len([value for value in levels["y"] if value]) == 6  # three levels, begin and end of each
    assert changes["x"] == ["2026-09-13 02:00:00", "2026-09-21 02:00:00"]
    assert COMMITS[12][:8] in changes["text"][0]
    assert gaps["x"] == ["2026-09-06 02:00:00", "2026-09-07 02:00:00"]
    assert "<" not in gaps["text"][0]
    assert [shape["x0"] for shape in made["layout"]["shapes"]] == ["2026-09-21 02:00:00"]


def test_the_page_says_what_changed_and_trusts_no_record(found: list[Series]) -> None:
    text = render_trends(found, ["nightly/x.json is no whole JSON file"], plotlyjs="cdn")
    view = build_trends(found)
    assert "No level has changed of" in view.sentence  # the slowdown is older than seven runs
    assert view.listed[0].change.sense == "environment"
    assert sum(row.change.sense == "environment" for row in view.listed) == 1, "once for all series"
    assert HOSTILE not in text
    assert "is no whole JSON file" in text
    assert "&lt;/script&gt;" in text
    assert text.count("<script") == 4  # data, plotly.js, two of our own
    still = next(metric for metric in view.metrics if metric.name == "weight_bytes")
    assert still.moving == 1, "of int4, whose gaps must be seen"
    assert "1 cell with the same number in every run" in text


def test_recent_changes_are_counted(tmp_path: Path) -> None:
    for day in range(20):
        write_run(tmp_path, day, [timed("int4", 0.002 if day < 16 else 0.003)])
    series = read_series(Store(tmp_path), "decode_s_per_token")
    assert build_trends(series).sentence == "1 worse of 1 series in the last 7 runs."


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 days: `gptq` changes on 20 and leaves on 25, a new machine on 40, `absmax` fails on the last ten.

    `none` stands in a second suite, too, which gets slower on its 28th of 30 days.
    """
    root = tmp_path_factory.mktemp("results")
    for day in range(60):
        machine = environment() if day < 40 else environment(cpu={"model": "Intel Xeon", "cores": 2})
        absmax = timed("absmax", 0.003)
        if day >= 50:
            absmax = dataclasses.replace(absmax, status="failed", reason="a bug", samples={}, layers=[])
        records = [timed("none", 0.004), absmax]
        if day == 40:  # the first day on the new machine: its series begin a day later
            records[1] = dataclasses.replace(absmax, status="oom", reason="x", samples={}, layers=[])
        if day < 25:
            records.append(timed("gptq", 0.002 if day < 20 else 0.003))
        write_run(root, day, records, machine=machine)
        if day < 30:
            slower = timed("none", 0.004 if day < 27 else 0.005)
            write_run(root, day, [slower], suite="other", commit=COMMITS[100 + day])
    return root


def test_the_headline_is_of_todays_cells_and_tells_failures(suites: Path) -> None:
    store = Store(suites)
    nightly = build_trends(read_series(store, "decode_s_per_token", suite="nightly"))
    assert nightly.sentence == (
        "No level has changed of 2 series in the last 7 runs; 1 cell has no value in the newest run."
    )
    both = build_trends(read_series(store, "decode_s_per_token"))
    assert both.sentence == (
        "1 worse of 3 series in the last 7 runs; 1 cell has no value in the newest run."
    ), "the other suite's last seven runs are its own"
    gone = read_series(store, "decode_s_per_token", rules=[{"method": ["gptq"]}])
    assert build_trends(gone).sentence == "None of these cells is in its suite any more."
    several = build_trends(shown(read_series(store, suite="nightly"))).sentence
    assert several.endswith("; 1 cell has no value in the newest run."), "a cell is counted once"


def test_the_list_names_the_suite_and_an_environment_once(suites: Path) -> None:
    listed = build_trends(shown(read_series(Store(suites)))).listed
    decode = [(row.change.date, row.cell) for row in listed if row.metric == "decode_s_per_token"]
    assert decode == [
        ("2026-09-28", "other: austen-6m none bf16 cpu"),
        ("2026-09-21", "nightly: austen-6m gptq bf16 cpu"),
    ]
    [moved] = [row for row in listed if row.change.sense == "environment"]
    assert (moved.cell, moved.metric, moved.change.date) == ("nightly: all", "", "2026-10-11")
    assert moved.change.commits == f"{COMMITS[39][:8]}..{COMMITS[40][:8]}"
    facts = dict(fact.split(": ", 1) for fact in moved.change.facts)
    assert len(facts) == len(moved.change.facts), "a fact that times and other numbers share stands once"
    assert facts["cpu"] == "AMD EPYC 9B45 → Intel Xeon"
    assert facts["cpu.vendor"] == "AMD → Intel"


def test_one_metric_of_any_kind_can_be_drawn(tmp_path: Path) -> None:
    write_run(tmp_path, 0, [timed("int4", 0.002)])
    write_trends(read_series(Store(tmp_path), "load_s"), tmp_path / "x.html", plotlyjs="cdn")
    assert "load_s over time" in (tmp_path / "x.html").read_text()
    with pytest.raises(ResultsError, match="nothing to draw"):
        write_trends([], tmp_path / "y.html")


@pytest.mark.parametrize(("days", "said"), [(1, "Last run"), (2, "Last 2 runs"), (41, "Last 40 runs")])
def test_the_head_of_the_sparklines_counts_them(days: int, said: str, tmp_path: Path) -> None:
    for day in range(days):
        write_run(tmp_path, day, [timed("int4", 0.002)])
    table = drawn(read_series(Store(tmp_path), "decode_s_per_token"))
    assert [column.header for column in table.columns][1] == said


def test_a_sparkline_has_a_bar_for_each_run(found: list[Series]) -> None:
    series = only(found, "decode_s_per_token", "int4")
    bars = sparkline(series.points)
    assert len(bars) == len(series.points)
    assert [place for place, bar in enumerate(bars) if bar == "·"] == [5, 6]
    assert bars[0] in BARS[:2]
    assert bars[-1] in BARS[5:]
    assert set(sparkline(only(found, "weight_bytes", "absmax").points)) == {BARS[3]}


STEPS = """
seen.plots = document.querySelectorAll('.plot .main-svg').length > 0;
const still = document.querySelector('details.still');
still.open = true;
document.querySelectorAll('figure details').forEach((one) => { one.open = true; });
seen.commits = document.querySelector('#metric-decode_s_per_token .commits').textContent;
const before = getComputedStyle(document.body).backgroundColor;
document.getElementById('theme').click();
seen.theme = getComputedStyle(document.body).backgroundColor !== before;
seen.title = document.title; seen.images = document.images.length;
seen.requests = performance.getEntriesByType('resource').map((entry) => entry.name);
seen.wide = document.documentElement.scrollWidth - innerWidth;
seen.diamonds = document.querySelectorAll('.plot .points path').length > 0;
const p = document.createElement('p');
p.id = 'seen'; p.textContent = JSON.stringify(seen); document.body.append(p);
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None or shutil.which(str(BROWSER)) is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [500, 1400])
def test_the_page_in_a_browser(
    found: list[Series], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    asset = page._asset
    added = f"\nconst seen = {{}}; setTimeout(() => {{ {STEPS} }}, 1500);"
    monkeypatch.setattr(page, "_asset", lambda name: asset(name) + (added if name == "trends.js" else ""))
    write_trends(found, tmp_path / "trends.html")
    own = (f"--window-size={width},2000", f"--user-data-dir={tmp_path / 'profile'}")
    done = subprocess.run(
        [str(BROWSER), *FLAGS.split(), *own, (tmp_path / "trends.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    told = re.search(r'<p id="seen">(.*?)</p>', done.stdout, flags=re.DOTALL)
    assert told is not None, console
    seen: dict[str, Any] = json.loads(unescape(told[1]))
    assert seen["plots"] is seen["theme"] is seen["diamonds"] is True
    assert seen["commits"].strip() != ""
    assert (seen["title"], seen["images"], seen["requests"]) == ("Trends of nightly · qbench", 0, [])
    assert seen["wide"] <= 0, "only tables scroll sideways"
    assert console == ""

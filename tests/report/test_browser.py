"""The page in a real browser, when one is installed: its script runs under its own policy, and only that.

The steps of a reader are appended to the page's script (so that the policy's hash names them too) and leave
what they saw in an element that the test reads back.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from qbench.report import leaderboard, page
from qbench.results.frame import from_records
from qbench.results.record import Record
from tests.results import factory

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]
FLAGS = """
    --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync
    --disable-component-update --enable-logging=stderr --virtual-time-budget=8000
    --dump-dom
"""
REPORT = """
const seen = {};
const tell = () => {
  const place = document.createElement('p');
  place.id = 'seen';
  place.textContent = JSON.stringify(seen);
  document.body.append(place);
};
"""
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


def cell(label: str, bits: float, loss: float) -> Record:
    nll = [nats + 511 * math.log(loss) for nats in factory.LOSSES]
    return factory.record(
        "absmax",
        cell=factory.cell("absmax", label=label, params={"bits": bits}),
        layers=[factory.layer(bits)],
        samples=factory.samples(perplexity=factory.perplexity(nll)),
    )


RECORDS = [
    factory.record(), cell("absmax 8", 8.25, 1.001), cell("absmax 4", 4.25, 1.2), cell(HOSTILE, 3.25, 1.1),
    factory.failed(reason=HOSTILE),
]  # fmt: skip


@pytest.fixture
def browse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs JavaScript steps in the page; returns what they put into `seen`, and the browser's console."""

    def run(
        steps: str, plotlyjs: page.Plotlyjs = "inline", *, width: int = 1200
    ) -> tuple[dict[str, Any], str]:
        asset = page._asset
        added = f"\n{REPORT}\nsetTimeout(() => {{ {steps}; tell(); }}, 1500);"
        monkeypatch.setattr(
            page, "_asset", lambda name: asset(name) + (added if name == "pictures.js" else "")
        )
        target = tmp_path / "page.html"
        target.write_text(leaderboard.render(from_records(RECORDS), plotlyjs=plotlyjs))
        if plotlyjs == "directory":
            (tmp_path / page.PLOTLY_FILE).write_text(page._plotly_source())
        own = (f"--window-size={width},2000", f"--user-data-dir={tmp_path / 'profile'}")
        done = subprocess.run(
            [str(BROWSER), *FLAGS.split(), *own, target.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found = re.search(r'<p id="seen">(.*?)</p>', done.stdout, flags=re.DOTALL)
        console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
        assert found is not None, console
        return json.loads(unescape(found[1])), console

    return run


STEPS = """
const shown = '#table tbody tr:not([hidden]) .label';
const labels = () => Array.from(document.querySelectorAll(shown), (e) => e.textContent.slice(0, 8));
const head = (key) => document.querySelector(`th[data-key="${key}"]`);
const click = (key) => head(key).querySelector('button').click();
seen.start = labels();
click('perplexity'); seen.rising = labels(); seen.aria = head('perplexity').ariaSort;
click('perplexity'); seen.falling = labels();
const form = document.getElementById('filters');
const changed = () => form.dispatchEvent(new Event("input"));
const choose = (name, value) => { form.elements[name].value = value; changed(); };
choose('status', 'failed'); seen.failed = labels();
seen.count = document.getElementById('shown').textContent;
choose('status', ''); choose('search', 'ABSMAX 8.25');
seen.search = labels();
seen.plots = document.querySelectorAll('.plot .main-svg').length > 0;
const before = getComputedStyle(document.body).backgroundColor;
document.getElementById('theme').click();
seen.theme = getComputedStyle(document.body).backgroundColor !== before;
seen.title = document.title; seen.images = document.images.length;
seen.requests = performance.getEntriesByType('resource').map((entry) => entry.name);
seen.overflow = document.documentElement.scrollWidth > innerWidth;
"""


def test_sort_filter_search_theme_and_pictures(browse: Any) -> None:
    seen, console = browse(STEPS)
    assert seen["start"] == ["none", "absmax 8", "absmax 4", "</script", "gptq"]
    assert seen["rising"] == ["none", "absmax 8", "</script", "absmax 4", "gptq"]
    assert seen["aria"] == "ascending"
    assert seen["falling"] == ["absmax 4", "</script", "absmax 8", "none", "gptq"]
    assert seen["failed"] == ["gptq"]
    assert seen["count"] == "1 of 5 cells"
    assert seen["search"] == ["absmax 8"]
    assert seen["plots"] is True
    assert seen["theme"] is True
    assert seen["overflow"] is False
    assert (seen["title"], seen["images"], seen["requests"]) == ("quickstart · qbench", 0, [])
    assert console == ""


@pytest.mark.parametrize("width", [500, 800])
def test_only_the_table_scrolls_sideways(browse: Any, width: int) -> None:
    seen, _ = browse("seen.wide = document.documentElement.scrollWidth - innerWidth", width=width)
    assert seen["wide"] <= 0


def test_plotlyjs_beside_the_page_is_found(browse: Any) -> None:
    seen, console = browse(
        "seen.plots = document.querySelectorAll('.plot .main-svg').length > 0", "directory"
    )
    assert seen == {"plots": True}
    assert console == ""


def test_the_policy_stops_a_script_that_it_does_not_name(browse: Any) -> None:
    seen, console = browse(
        "const s = document.createElement('script'); s.textContent = \"document.title = 'broken'\";"
        "document.body.append(s); seen.title = document.title"
    )
    assert seen == {"title": "quickstart · qbench"}
    assert "Content Security Policy" in console

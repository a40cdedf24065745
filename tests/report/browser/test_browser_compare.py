"""The comparison in a real browser: sorting, what is folded, the theme, no overflow, no request, no error.

The steps of a reader are appended to the page's own script, so that its policy's hash names them too.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from qbench.report.compare.compare_page import render
from qbench.report.html import page
from qbench.results.compare.compare import compare_sources
from tests.report.compare.test_compare_page import changed, source
from tests.results import factory

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]
FLAGS = """
    --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync
    --disable-component-update --enable-logging=stderr --virtual-time-budget=4000 --dump-dom
"""
HOSTILE = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
STEPS = """
const seen = {};
const column = (place, part) => [...document.querySelectorAll(part + ' tbody tr')]
  .filter((row) => row.checkVisibility()).map((row) => row.cells[place].textContent.trim());
const heads = [...document.querySelectorAll('#same thead th')];
const head = (title) => heads.find((th) => th.textContent.trim() === title);
seen.loud = column(2, '#timed'); seen.folded = column(0, '#same').length;
document.querySelector('#same summary').click(); seen.rows = column(0, '#same').length;
head('B/A').querySelector('button').click(); seen.rising = column(3, '#same');
seen.aria = head('B/A').ariaSort;
head('B/A').querySelector('button').click(); seen.falling = column(3, '#same');
const before = getComputedStyle(document.body).backgroundColor;
document.getElementById('theme').click();
seen.theme = getComputedStyle(document.body).backgroundColor !== before;
seen.title = document.title; seen.images = document.images.length;
seen.requests = performance.getEntriesByType('resource').map((entry) => entry.name);
seen.overflow = document.documentElement.scrollWidth > innerWidth;
const place = document.createElement('p');
place.id = 'seen';
place.textContent = JSON.stringify(seen);
document.body.append(place);
"""


@pytest.mark.parametrize("width", [500, 820, 1400])
def test_a_reader_unfolds_sorts_and_changes_the_theme(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = factory.samples(latency=factory.latency([0.05, 0.06, 0.07]), memory=factory.memory(1_000_000))
    records = [factory.record(), factory.record("absmax", cell=factory.cell("absmax", label=HOSTILE))]
    a = source(*records, fact=HOSTILE)
    later = changed(replace(records[0], samples=slow), "perplexity", nll=[1.0] * factory.WINDOWS)
    b = source(later, records[1], factory.failed(reason=HOSTILE), fact="plain")
    asset = page._asset
    monkeypatch.setattr(page, "_asset", lambda name: asset(name) + (STEPS if name == "compare.js" else ""))
    target = tmp_path / "compare.html"
    target.write_text(render(compare_sources(a, b), a, b))
    own = (f"--window-size={width},1500", f"--user-data-dir={tmp_path / 'profile'}")
    done = subprocess.run(
        [str(BROWSER), *FLAGS.split(), *own, target.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'<p id="seen">(.*?)</p>', done.stdout, flags=re.DOTALL)
    assert found is not None, console
    check(json.loads(unescape(found[1])))
    assert console == []


def check(seen: dict[str, Any]) -> None:
    ratios = [float(text.strip("× ")) for text in seen["rising"]]
    assert ratios == sorted(ratios)
    assert [float(text.strip("× ")) for text in seen["falling"]] == sorted(ratios, reverse=True)
    assert (seen["folded"], len(ratios)) == (0, seen["rows"])
    assert seen["rows"] + len(seen["loud"]) == 8
    assert seen["aria"] == "ascending"
    assert seen["loud"][0] == "every round of B slower"
    assert "rounds overlap" not in seen["loud"]
    assert seen["theme"] is True
    assert (seen["title"], seen["images"], seen["requests"]) == ("A and B compared · qbench", 0, [])
    assert seen["overflow"] is False

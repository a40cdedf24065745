"""A page in a real browser (see the fixture `browser`).

Whatever a test does, at its end the page has asked the network for nothing and its console has no error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from qbench.report.html import page
from qbench.report.leaderboard import leaderboard
from qbench.report.leaderboard.columnar import assembled, best_places, column_data
from qbench.report.view.table import ordered, table_view
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from tests.results import factory

STUB = "var Plotly = new Proxy({}, {get: () => () => Promise.resolve()});"
"""In place of plotly.js, which takes a second to start, where a test is not about pictures."""


@dataclass
class Opened:
    """A page that stands in the browser, and what it did so far."""

    page: Any
    target: Path
    frame: pd.DataFrame
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def labels(self) -> list[str]:
        """Of the rows that stand in the table, in their order."""
        return self.page.locator("#table tbody .label").all_inner_texts()

    def head(self, name: str) -> Any:
        return self.page.locator(f'#table th[data-key="{name}"]')

    def sort(self, name: str) -> None:
        self.head(name).get_by_role("button").click()

    def search(self, text: str) -> None:
        self.page.locator("#filters input[name=search]").fill(text)

    @property
    def fragment(self) -> str:
        return self.page.evaluate("location.hash")

    @property
    def shown(self) -> str:
        return self.page.inner_text("#shown")


PageOf = Callable[..., Opened]


@pytest.fixture
def page_of(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageOf]:
    """Renders records (or shows a file) and opens it; every page is checked when the test is over."""
    opened: list[Opened] = []

    def open_page(
        records: list[Record] | Path,
        *,
        fragment: str = "",
        width: int = 1200,
        theme: str = "light",
        plotly: bool = False,
        context: dict[str, Any] | None = None,
    ) -> Opened:
        if not plotly:
            monkeypatch.setattr(page, "_plotly_source", lambda: STUB)
        frame = from_records([] if isinstance(records, Path) else records)
        target = records if isinstance(records, Path) else tmp_path / "page.html"
        if not isinstance(records, Path):
            target.write_text(leaderboard.render(frame, {"run": factory.MANIFEST}))
        made = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            accept_downloads=True,
            **(context or {}),
        )
        found = Opened(made.new_page(), target, frame)
        found.page.set_default_timeout(30_000)  # a busy machine is slow, not wrong
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", lambda message: found.console.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.console.append(f"error: {error}"))
        found.page.goto(target.as_uri() + fragment)
        opened.append(found)
        return found

    yield open_page
    for one in opened:
        one.page.context.close()
        outside = [url for url in one.requests if not url.startswith((one.target.as_uri(), "blob:", "data:"))]
        assert outside == []
        assert [line for line in one.console if line.startswith(("error", "warning"))] == []


def table_data(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole data of the leaderboard's table, of the frame's rows."""
    view = table_view(ordered(rows))
    made = {name: column_data(view, one.column) for name, one in view.fields.items()}
    return assembled(view, made, best_places(view))


def cell(label: str, bits: float, loss: float, **changes: Any) -> Record:
    """A quantized cell of this label, of so many bits per weight, whose perplexity is `loss` × the base's."""
    nll = [nats + 511 * math.log(loss) for nats in factory.LOSSES]
    return factory.record(
        "absmax",
        cell=factory.cell("absmax", label=label, params={"bits": bits}),
        layers=[factory.layer(bits)],
        samples=factory.samples(perplexity=factory.perplexity(nll)),
        **changes,
    )

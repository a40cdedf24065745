"""The recorded proof: it is the planned one, it says what docs/gate.md says, and what the gate promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.results.gate.power_svg import OUT, svg
from tests.results.gate.proof import FILE, plan
from tests.results.gate.table import markdown

ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(FILE.read_text())}
DOCS = OUT.parent / "gate.md"


def test_every_planned_night_was_simulated() -> None:
    assert {name: runs for name, _, runs in plan()} == {name: row["runs"] for name, row in ROWS.items()}


def test_the_docs_show_the_recorded_figures() -> None:
    assert markdown(list(ROWS.values())) in DOCS.read_text()
    assert svg(list(ROWS.values())) == OUT.read_text()


@pytest.mark.parametrize("name", [name for name, night, _ in plan() if night.confirm])
def test_false_alarms_are_no_more_than_alpha(name: str) -> None:
    assert ROWS[name]["false_alarm"] <= 0.05 * ROWS[name]["runs"]


@pytest.mark.parametrize("name", ["+5 %, 60 × 2", "+2 %, 60 × 2, threshold 1 %, 18 000 s"])
def test_the_promised_slowdowns_are_found(name: str) -> None:
    assert ROWS[name]["found"] >= 0.9 * ROWS[name]["runs"]


def test_the_proof_could_fail() -> None:
    """Nights as good as those of A against A do find what is injected, and have loads enough to."""
    assert ROWS["+10 %, 60 × 8, 1800 s"]["found"] > 0
    assert ROWS["+50 %, 60 × 2, busy machine, 1800 s"]["found"] > 0
    assert all(row["most_loads"] > 1 for row in ROWS.values())

"""The recorded proof: it is the planned one, it says what docs/gate.md says, and what the gate promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gate.proof.power_svg import OUT, svg
from tests.gate.proof.proof import FILE, plan, row
from tests.gate.proof.table import markdown

ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(FILE.read_text())}
DOCS = OUT.parent / "gate.md"


def test_every_planned_run_was_simulated() -> None:
    assert {name: runs for name, _, runs in plan()} == {name: row["runs"] for name, row in ROWS.items()}


def test_the_docs_show_the_recorded_figures() -> None:
    assert markdown(list(ROWS.values())) in DOCS.read_text()
    assert svg(list(ROWS.values())) == OUT.read_text()


@pytest.mark.parametrize("name", [name for name, scenario, _ in plan() if scenario.confirm])
def test_false_alarms_are_no_more_than_alpha(name: str) -> None:
    assert ROWS[name]["false_alarm"] <= 0.05 * ROWS[name]["runs"]


@pytest.mark.parametrize("name", ["+5 %, 60 × 2", "+5 %, 60 × 8", "+2 %, 60 × 2, threshold 1 %, 18 000 s"])
def test_the_promised_slowdowns_are_found(name: str) -> None:
    assert ROWS[name]["found"] >= 0.9 * ROWS[name]["runs"]


@pytest.mark.parametrize("name", ["+6 %, 10 × 2, 300 s", "+10 %, 10 × 2, 300 s"])
def test_what_was_recorded_is_what_the_code_does(name: str) -> None:
    """A short row again: a change of sampling or statistics has to be proved anew."""
    (scenario,) = [scenario for known, scenario, _ in plan() if known == name]
    again = row(name, scenario, ROWS[name]["runs"])
    counts = ("false_alarm", "found", "called_same", "all_decided")
    assert [again[count] for count in counts] == [ROWS[name][count] for count in counts]


def test_the_docs_say_what_real_gates_found() -> None:
    gates = json.loads((FILE.parent / "real.json").read_text())
    by_kind = {kind: [one for one in gates if one["candidate"] == kind] for kind in ("same", "slower by 5 %")}
    codes = {kind: [one["exit_code"] for one in found] for kind, found in by_kind.items()}
    assert codes == {"same": [0] * 20, "slower by 5 %": [1] * 4}
    seconds = {kind: sorted(one["wall_s"] for one in found) for kind, found in by_kind.items()}
    timed = [(one["candidate"], metric) for one in gates for metric in one["timed"]]
    assert {metric["verdict"] for kind, metric in timed if kind == "same"} == {"same"}
    worse = [metric for _, metric in timed if metric["verdict"] == "worse"]
    assert [metric["metric"] for metric in worse] == ["decode_s_per_token"] * 4
    changes = sorted(100 * (metric["change"] - 1) for metric in worse)
    said = " ".join(DOCS.read_text().split())
    assert f"exit code 0; {seconds['same'][0]} to {seconds['same'][-1]} s each" in said
    assert f"nothing else; {seconds['slower by 5 %'][0]} to {seconds['slower by 5 %'][-1]} s" in said
    assert f"put at {changes[0]:.1f} to {changes[-1]:.1f} %" in said


def test_the_proof_could_fail() -> None:
    """Scenarios as good as those of A against A find what is injected, with process starts enough for it."""
    assert ROWS["+10 %, 60 × 8, 1800 s"]["found"] > 0
    assert ROWS["+50 %, 60 × 2, busy machine, 1800 s"]["found"] > 0
    assert all(row["most_loads"] > 1 for row in ROWS.values())

"""The table of docs/gate.md from proof.json: `python -m tests.gate.proof.table` prints it."""

from __future__ import annotations

import json
from typing import Any

from tests.gate.proof.proof import FILE

COLUMNS = (
    "Scenario",
    "Runs",
    "Any false alarm (95 %)",
    "Slowdown found (95 %)",
    "called `same`",
    "Decided",
    "Process starts a cell, most",
    "Seconds",
)


def markdown(rows: list[dict[str, Any]]) -> str:
    """A line for each row of the proof."""
    head = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    return "\n".join([*head, *map(_line, rows)])


def _line(row: dict[str, Any]) -> str:
    found = called = "–"
    if "found" in row:
        found = f"{row['found']} = {row['found'] / row['runs']:.0%} ({_ends(row['found_95'])})"
        called = str(row["called_same"])
    cells = (
        row["name"],
        row["runs"],
        f"{row['false_alarm']} ({_ends(row['false_alarm_95'])})",
        found,
        called,
        f"{row['decided']:.0%}; of all in {row['all_decided']}",
        f"{row['loads_a_cell']:.1f}, {row['most_loads']:g}",
        f"{row['median_s']:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _ends(interval: list[float]) -> str:
    return f"{100 * interval[0]:.1f} – {100 * interval[1]:.1f} %"


if __name__ == "__main__":
    print(markdown(json.loads(FILE.read_text())))

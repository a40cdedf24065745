"""Progress of a run: a live table in a terminal, plain lines elsewhere, JSON lines, or nothing.

The display is drawn on every event, and once a second while nothing is timed; while a phase is timed it
sleeps with the rest of the parent.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from qbench.cell import Cell
from qbench.report.text.sanitize import plain, plain_name
from qbench.results.store.folders import Run
from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS
from qbench.run.executors.scheduler import Listener

if TYPE_CHECKING:
    from qbench.run.planning.plan import Planned
    from qbench.run.runner import Outcome

STYLE = {"ok": "green", "failed": "red", "oom": "red", "timeout": "red", "skipped": "yellow", "done": "dim"}


class Display(Listener):
    """The quiet display, and the base of the others: a context manager around a run."""

    def begin(self, run: Run, planned: Sequence[Planned]) -> None:
        """The matrix is known."""

    def record(self, record: Record) -> None:
        """A cell has its record."""

    def note(self, text: str) -> None:
        """A message of one line on the run, not on a cell."""
        print(text, file=sys.stderr, flush=True)

    def end(self, outcome: Outcome, leaderboard: Path) -> None:
        print(leaderboard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Plain(Display):
    """One line for each cell that ends; for logs."""

    def __init__(self) -> None:
        self.count = self.total = 0

    def begin(self, run: Run, planned: Sequence[Planned]) -> None:
        self.total = sum(plan.state != "done" for plan in planned)
        done = len(planned) - self.total
        print(f"run {run.suite}/{run.name}: {len(planned)} cells, {done} done before", flush=True)

    def record(self, record: Record) -> None:
        self.count += 1
        cell = record.cell
        seconds = sum(record.phases.values())
        said = headline(record) if record.status == "ok" else record.reason
        print(
            f"[{self.count}/{self.total}] {record.status:7} {plain_name(cell.model.name)} "
            f"{plain_name(cell.label)} {cell.dtype} {cell.place} {seconds:.1f} s: {plain(said)}",
            flush=True,
        )

    def end(self, outcome: Outcome, leaderboard: Path) -> None:
        print(_summary(outcome))
        print(f"leaderboard: {leaderboard}", flush=True)


class JsonLines(Display):
    """Every event as one JSON object on its line; for programs."""

    def begin(self, run: Run, planned: Sequence[Planned]) -> None:
        states = {plan.cell.id: plan.state for plan in planned}
        self._say("begin", suite=run.suite, run=run.name, cells=states)

    def phase(self, cell: Cell, name: str) -> None:
        self._say("phase", cell_id=cell.id, label=cell.label, phase=name)

    def record(self, record: Record) -> None:
        self._say(
            "record", cell_id=record.cell.id, label=record.cell.label, status=record.status,
            reason=record.reason, phases=record.phases,
        )  # fmt: skip

    def note(self, text: str) -> None:
        self._say("note", text=text)

    def end(self, outcome: Outcome, leaderboard: Path) -> None:
        self._say(
            "end", exit_code=outcome.exit_code, folder=str(outcome.run.folder), leaderboard=str(leaderboard)
        )

    def _say(self, event: str, **data: Any) -> None:
        print(json.dumps({"event": event, **data}), flush=True)


@dataclass
class _Line:
    """A cell in the live table."""

    cell: Cell
    state: str
    said: str
    started_s: float | None = None
    elapsed_s: float | None = None


class LiveTable(Display):
    """The live table of a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.rows: dict[str, _Line] = {}
        self.seconds: list[float] = []
        self.title = ""

    def begin(self, run: Run, planned: Sequence[Planned]) -> None:
        self.title = f"{run.suite} · {run.name}"
        for plan in planned:
            state = {"run": "waiting", "skip": "skipped"}.get(plan.state, plan.state)
            self.rows[plan.cell.id] = _Line(plan.cell, state, plan.reason or "")
        self.tick()

    def phase(self, cell: Cell, name: str) -> None:
        row = self.rows[cell.id]
        row.state, row.started_s = name, row.started_s or time.perf_counter()
        self.tick()

    def record(self, record: Record) -> None:
        row = self.rows[record.cell.id]
        if row.started_s:
            row.elapsed_s = time.perf_counter() - row.started_s
            self.seconds.append(row.elapsed_s)
        said = headline(record) if record.status == "ok" else record.reason
        row.state, row.said = record.status, said or ""
        self.tick()

    def tick(self) -> None:
        self.live.update(self._draw(), refresh=True)

    def note(self, text: str) -> None:
        self.console.print(Text(text, "yellow"))

    def end(self, outcome: Outcome, leaderboard: Path) -> None:
        from qbench.report.text.terminal import table
        from qbench.results.frames.frame import load

        self.console.print(table(load(outcome.run.folder)))
        self.console.print(_summary(outcome))
        self.console.print(f"leaderboard: {leaderboard}", soft_wrap=True)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def _draw(self) -> Table:
        left = sum(row.state not in STYLE for row in self.rows.values())
        eta = (
            f"about {left * sum(self.seconds) / len(self.seconds):.0f} s left"
            if self.seconds and left
            else ""
        )
        table = Table(
            "model", "method", "dtype", "device", "state", "s", "result so far", caption=eta, title=self.title
        )
        for row in self._window():
            cell = row.cell
            style = STYLE.get(row.state, "bold cyan" if row.started_s else "dim")
            now = time.perf_counter() - row.started_s if row.started_s else None
            elapsed = now if row.elapsed_s is None else row.elapsed_s
            table.add_row(
                *map(Text, map(plain_name, (cell.model.name, cell.label, cell.dtype, cell.place))),
                Text(row.state, style),
                f"{elapsed:.1f}" if elapsed is not None else "",
                Text(plain(row.said)),
            )
        return table

    def _window(self) -> list[_Line]:
        """Rows that fit the terminal, around the cell that runs."""
        rows = list(self.rows.values())
        room = max(3, self.console.size.height - 8)
        at = next((index for index, row in enumerate(rows) if row.state not in STYLE), len(rows))
        start = max(0, min(at - room // 2, len(rows) - room))
        return rows[start : start + room]


def display(*, quiet: bool, json: bool) -> Display:
    """The display for the kind of output."""
    if quiet:
        return Display()
    if json:
        return JsonLines()
    return LiveTable(Console()) if sys.stdout.isatty() else Plain()


def _summary(outcome: Outcome) -> str:
    counts: dict[str, int] = {}
    for record in outcome.records:
        counts[record.status] = counts.get(record.status, 0) + 1
    before = sum(plan.state == "done" for plan in outcome.planned)
    parts = [f"{count} {status}" for status, count in counts.items()]
    parts += [f"{before} done before"] if before else []
    stopped = "interrupted; run the same command again to go on. " if outcome.interrupted else ""
    return f"{stopped}{', '.join(parts) or 'nothing to do'}"


def headline(record: Record) -> str:
    """The few main numbers of a finished cell, without those that were not measured."""
    shown = {
        "bits_per_weight": "{:.2f} bits",
        "perplexity": "perplexity {:.2f}",
        "decode_s_per_token": "{:.4g} s/token",
    }
    values = {name: METRICS[name].value(record) for name in shown}
    return ", ".join(shown[name].format(value) for name, value in values.items() if value is not None)

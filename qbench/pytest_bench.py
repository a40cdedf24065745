"""The fixture, the progress and the names of the pytest plugin.

`pytest_plugin.py` loads this when a suite is collected or the fixture is asked for, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from qbench.cell import Cell
from qbench.results.history.history import metrics
from qbench.results.store.record import Record
from qbench.results.table.columns import columns
from qbench.run.executors import registry as executors
from qbench.run.executors.executor import Executor
from qbench.run.executors.scheduler import Listener
from qbench.run.runner import run_suite
from qbench.suite.load import load_suite, parse_suite

if TYPE_CHECKING:
    import pandas as pd

EXECUTOR = pytest.StashKey[Executor]()
"""The executor of this session, once something had to be measured."""


class Told(Listener):
    """A run's progress as lines of pytest's terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self.terminal: Any = config.pluginmanager.get_plugin("terminalreporter")

    def begin(self, run: Any, planned: Any) -> None:
        waiting = sum(plan.state == "run" for plan in planned)
        self._say(f"qbench {run.suite}/{run.name}: {waiting} of {len(planned)} cells to measure")

    def record(self, record: Record) -> None:
        seconds = sum(record.phases.values())
        said = f"{name_of(record.cell)} {seconds:.1f} s {record.reason or ''}"
        self._say(f"  {record.status:7} {said}".rstrip())

    def note(self, text: str) -> None:
        self._say(text)

    def _say(self, line: str) -> None:
        if self.terminal is not None and self.terminal.verbosity >= 0:
            self.terminal.ensure_newline()
            self.terminal.write_line(line)


class Bench:
    """The fixture `qbench`: runs of suites in one folder, on one executor."""

    def __init__(self, config: pytest.Config, results: Path) -> None:
        self._config = config
        self.results = results
        """Results folder."""

    def run(self, suite: str | Path | Mapping[str, Any], *, fresh: bool = False) -> pd.DataFrame:
        """Measures a suite (a file, a packaged name, or the suite itself as a dict) and returns its frame.

        What was measured before is kept, unless `fresh`. A failed cell is a row with its reason, no error.
        """
        if isinstance(suite, Mapping):
            loaded = parse_suite(yaml.safe_dump(dict(suite), sort_keys=False), "suite")
        else:
            loaded = load_suite(suite)
        told, config = Told(self._config), self._config
        outcome = run_suite(loaded, self.results, told, fresh=fresh, executor=lambda: executor_of(config))
        if outcome.interrupted:
            raise KeyboardInterrupt
        frame = self.load(outcome.run.folder)
        return frame[frame.cell_id.isin([planned.cell.id for planned in outcome.planned])]

    def load(self, path: str | Path) -> pd.DataFrame:
        """`qbench.load`: the newest run of each suite under a folder, a row per cell."""
        from qbench.results.frames.frame import load

        return load(path)

    def check(self, frame: pd.DataFrame, limits: Mapping[str, float]) -> None:
        """Fails unless every cell is ok or skipped, and no better than its limit allows is missing.

        `limits`: metric → the worst value that passes: the largest where lower is better, else the smallest.
        """
        unknown = sorted(set(limits) - set(metrics()))
        if unknown:
            raise ValueError(f"no metric {', '.join(unknown)}; docs/columns.md lists them")
        wrong: list[str] = []
        for row in frame.to_dict("records"):
            wrong += _wrong(row, {name: (limit, columns()[name].direction) for name, limit in limits.items()})
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)


def executor_of(config: pytest.Config) -> Executor:
    """The session's executor, started when it is first needed."""
    if EXECUTOR not in config.stash:
        config.stash[EXECUTOR] = executors.executor_class("local")()
    return config.stash[EXECUTOR]


def close_executor(config: pytest.Config) -> None:
    if EXECUTOR in config.stash:
        config.stash[EXECUTOR].close()


def name_of(cell: Cell) -> str:
    """`austen-6m-int4-bf16-cpu`, without blanks and colons, which node ids and shells read otherwise."""
    repetition = [f"rep{cell.repetition}"] if cell.repetition else []
    parts = (cell.model.name, cell.label, cell.dtype, *cell.place.split(), *repetition)
    return "-".join(parts).replace(" ", "_").replace("::", ":").replace("/", "_")


def _wrong(row: dict[Any, Any], limits: Mapping[str, tuple[float, str | None]]) -> list[str]:
    cell = f"{row['model']} {row['label']} {row['dtype']} {row['device']}"
    if row["status"] != "ok":
        return [] if row["status"] == "skipped" else [f"{cell}: {row['status']}: {row['reason']}"]
    found = []
    for name, (limit, way) in limits.items():
        value = row[name]
        if value is None or value != value:  # NaN
            found.append(f"{cell}: {name} was not measured")
        elif value < limit if way == "higher" else value > limit:
            found.append(
                f"{cell}: {name} {value:.6g}, {'at least' if way == 'higher' else 'at most'} {limit:g}"
            )
    return found

"""Suites small enough to run whole, and a listener that keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from qbench.results.store.record import Record
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.runner import Outcome, run_suite
from qbench.suite.load import parse_suite
from qbench.suite.spec import Suite

PLUGIN = Path(__file__).parent / "plugin"

QUICK: dict[str, Any] = {
    "name": "tiny",
    "models": [{"source": "builtin:austen-6m"}],
    "threads": 1,  # beside other tests: threads that wait for each other take many times as long
    "quality": {"seqlen": 64, "max_windows": 2},
    "latency": False,
    "energy": False,
    "memory": False,
}


class Listening:
    """A display for tests: remembers everything."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.phases: list[tuple[str, str]] = []
        self.records: list[Record] = []
        self.ticks = 0
        self.notes: list[str] = []

    def begin(self, run: Any, planned: Sequence[Any]) -> None:
        self.begun = list(planned)

    def phase(self, cell: Any, name: str) -> None:
        self.phases.append((cell.label, name))

    def record(self, record: Record) -> None:
        self.records.append(record)

    def tick(self) -> None:
        self.ticks += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


def suite(methods: list[dict[str, Any]], folder: Path, **changes: Any) -> Suite:
    """A parsed suite of these methods on the embedded model."""
    text = yaml.safe_dump({**QUICK, "methods": methods, **changes}, sort_keys=False)
    return parse_suite(text, str(folder / "tiny.yaml"))


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def executor() -> Iterator[LocalExecutor]:
    """One warm server for all tests; the plugin `misbehave` is installed for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PLUGIN))
        with LocalExecutor() as warm:
            yield warm


@pytest.fixture
def run(tmp_path: Path, executor: LocalExecutor) -> Run:
    """Runs methods on the embedded model and returns the outcome; results in tmp_path/results."""

    def go(methods: list[dict[str, Any]], *, listener: Any = None, **changes: Any) -> Outcome:
        options = {key: changes.pop(key) for key in ("rules", "jobs", "fresh", "executor") if key in changes}
        loaded = suite(methods, tmp_path, **changes)
        return run_suite(
            loaded, tmp_path / "results", listener or Listening(), **{"executor": executor, **options}
        )

    return go


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the plugin `misbehave` for this process too."""
    monkeypatch.syspath_prepend(str(PLUGIN))

"""pytest with qbench: every cell of a suite as a test, and a fixture that measures.

    pytest --qbench-suite suite.yaml              one test a cell; -k, junit and --collect-only as usual
    def test_mine(qbench): qbench.check(qbench.run("suite.yaml"), {"perplexity_ratio": 1.02})

The selected cells of a suite are measured together before the first test (as `qbench run` does: cells that
are compared take turns, finished ones are kept), and each test then reports the status of its cell.

Loading this module imports pytest, which is there, and nothing else: no torch, no pandas, no suite. Without
`--qbench-suite` and without the fixture it does nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qbench.cell import Cell
    from qbench.pytest_bench import Bench
    from qbench.results.store.record import Record
    from qbench.suite.spec import Suite

Reports = dict[str, "Record"]
SUITES = pytest.StashKey[dict[Path, str]]()
"""Suite files of this session → the suite as it was named."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("qbench", "measuring quantized language models")
    group.addoption(
        "--qbench-suite", action="append", default=[], metavar="SUITE",
        help="make each cell of this suite (a file, or a packaged name) a test; repeatable. Without other "
        "arguments nothing else is collected",
    )  # fmt: skip
    group.addoption(
        "--qbench-results", metavar="DIR", default=None,
        help="where results are kept, and resumed from; default: results, for the fixture a temporary folder",
    )  # fmt: skip
    group.addoption(
        "--qbench-filter", action="append", default=[], metavar="KEY=VALUE,…",
        help="only cells that match, as in qbench run --filter; repeatable",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    named: list[str] = config.getoption("qbench_suite")
    if not named:
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError(
            "--qbench-suite measures, and cells side by side would disturb each other: drop -n"
        )
    config.stash[SUITES] = {_file_of(name): name for name in named}
    asked = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    known = {_path_of(config, arg) for arg in asked}
    config.args = [*asked, *(str(path) for path in config.stash[SUITES] if path not in known)]


def pytest_unconfigure(config: pytest.Config) -> None:
    if "qbench.pytest_bench" in sys.modules:
        from qbench.pytest_bench import close_executor

        close_executor(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    name = parent.config.stash.get(SUITES, {}).get(file_path.resolve())
    return None if name is None else SuiteFile.from_parent(parent, path=file_path, suite_name=name)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Measures before the first test, outside any test's time limit."""
    if not session.config.option.collectonly:
        files = dict.fromkeys(item.parent for item in session.items if isinstance(item, CellItem))
        for file in files:
            assert isinstance(file, SuiteFile)
            _measure(file, [item for item in session.items if item.parent is file])
    return (yield)


def _measure(file: SuiteFile, items: list[pytest.Item]) -> None:
    """Measures the items of a file; an error that the user can mend ends pytest with its message."""
    from qbench.errors import QbenchError

    try:
        file.measure(items)
    except QbenchError as error:
        raise pytest.UsageError(str(error)) from error


class SuiteFile(pytest.File):
    """A suite whose cells are tests."""

    suite_name: str
    records: Reports

    @classmethod
    def from_parent(cls, parent: Any, *, path: Path, suite_name: str) -> SuiteFile:  # type: ignore[override]
        made: SuiteFile = super().from_parent(parent, path=path)
        made.suite_name, made.records = suite_name, {}
        return made

    def collect(self) -> Iterator[pytest.Item]:
        from qbench.pytest_bench import name_of
        from qbench.run.planning.plan import Planner
        from qbench.suite.load import load_suite

        self.suite: Suite = load_suite(self.suite_name)
        names: set[str] = set()
        for planned in Planner(self.suite).plan(self._rules()):
            name = name_of(planned.cell)
            name = f"{name}-{planned.cell.id[:6]}" if name in names else name
            names.add(name)
            yield CellItem.from_parent(self, name=name, cell=planned.cell)

    def measure(self, items: list[pytest.Item]) -> None:
        """Runs the cells of these items that have no `ok` record yet, and reads the records of all."""
        from qbench.pytest_bench import Told, executor_of
        from qbench.results.store.folders import Store
        from qbench.run.runner import run_suite

        cells = [item.cell for item in items if isinstance(item, CellItem)]
        folder = Path(self.config.getoption("qbench_results") or "results")
        outcome = run_suite(
            self.suite,
            folder,
            Told(self.config),
            rules=self._rules(),
            executor=lambda: executor_of(self.config),
            only=frozenset(cell.id for cell in cells),
        )
        if outcome.interrupted:
            pytest.exit("interrupted; the same command goes on where it stood", 130)
        store = Store(outcome.run.folder, strict=False)
        found = {cell.id: store.record(outcome.run, cell.id) for cell in cells}
        self.records = {cell_id: record for cell_id, record in found.items() if record is not None}

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A wrong suite is one message, as on the command line."""
        from qbench.errors import QbenchError

        if isinstance(excinfo.value, QbenchError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def _rules(self) -> list[Any]:
        from qbench.suite.rules import parse_filter

        return [parse_filter(text) for text in self.config.getoption("qbench_filter")]


class CellItem(pytest.Item):
    """One cell."""

    cell: Cell

    @classmethod
    def from_parent(cls, parent: Any, *, name: str, cell: Cell) -> CellItem:  # type: ignore[override]
        made: CellItem = super().from_parent(parent, name=name)
        made.cell = cell
        return made

    def runtest(self) -> None:
        assert isinstance(self.parent, SuiteFile)
        record = self.parent.records.get(self.cell.id)
        if record is None:
            raise CellFailed("no record: the cell was not measured, or its record cannot be read")
        if record.status == "skipped":
            raise pytest.skip.Exception(record.reason or "no reason was recorded", _use_item_location=True)
        self.user_properties += [("cell_id", self.cell.id), *_numbers(record)]
        if record.status != "ok":
            trace = (record.error or {}).get("traceback", "")
            raise CellFailed(f"{record.status}: {record.reason}\n\n{trace}".rstrip())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The cell's own reason and traceback, not that of this plugin."""
        if isinstance(excinfo.value, CellFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class CellFailed(Exception):
    """A cell whose record is not ok; the message is what the report shows."""


@pytest.fixture(scope="session")
def qbench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Runs suites and reads results; see `qbench.pytest_bench.Bench`. Its server ends with the session."""
    from qbench.pytest_bench import Bench

    folder = request.config.getoption("qbench_results")
    return Bench(request.config, Path(folder) if folder else tmp_path_factory.mktemp("qbench"))


def _numbers(record: Record) -> list[tuple[str, object]]:
    """The metrics that the leaderboard shows by default, as a test's properties, in JUnit files for one."""
    from qbench.results.table.columns import usual
    from qbench.results.table.metrics import METRICS

    shown = [METRICS[column.name] for column in usual("page") if column.name in METRICS]
    return [(one.name, value) for one in shown if (value := one.value(record)) is not None]


def _file_of(name: str) -> Path:
    """The suite's file; of a name that is none, a packaged one. A mistake ends pytest with its message."""
    from qbench.errors import QbenchError
    from qbench.suite.load import suite_path

    try:
        return suite_path(name).resolve()
    except QbenchError as error:
        raise pytest.UsageError(f"--qbench-suite {name}: {error}") from error


def _path_of(config: pytest.Config, argument: str) -> Path:
    return (config.invocation_params.dir / argument.split("::")[0]).resolve()

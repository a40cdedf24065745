"""pytest with qbench: every cell of a suite as a test, and a fixture that measures.

    pytest --qbench-suite suite.yaml              one test a cell; -k, junit and --collect-only as usual
    def test_mine(qbench): qbench.check(qbench.run("suite.yaml"), {"perplexity_ratio": 1.02})

The selected cells of a suite are measured together before the first test (as `qbench run` does: cells that
are compared take turns, what is done already is kept), and each test then says how its cell went.

Loading this module imports pytest, which is there, and nothing else: no torch, no pandas, no suite. Without
`--qbench-suite` and without the fixture it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pandas as pd

    from qbench.results.record import Record
    from qbench.run.pool import Pool
    from qbench.suite.cell import Cell
    from qbench.suite.spec import Suite

Reports = dict[str, "Record"]
SUITES = pytest.StashKey[dict[Path, str]]()
"""Suite files of this session → the suite as it was named."""
POOL = pytest.StashKey["Pool"]()
"""The warm server of this session, once something had to be measured."""
SHOWN = ("bits_per_weight", "perplexity", "perplexity_ratio", "decode_s_per_token", "peak_memory_bytes")
"""Metrics that a test's properties carry, in JUnit files for one."""


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
    if POOL in config.stash:
        config.stash[POOL].close()


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
    """What only the user can mend ends pytest with its message."""
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
        from qbench.run.plan import Planner
        from qbench.suite.load import load_suite

        self.suite: Suite = load_suite(self.suite_name)
        names: set[str] = set()
        for planned in Planner(self.suite).plan(self._rules()):
            name = _name(planned.cell)
            name = f"{name}-{planned.cell.id[:6]}" if name in names else name
            names.add(name)
            yield CellItem.from_parent(self, name=name, cell=planned.cell)

    def measure(self, items: list[pytest.Item]) -> None:
        """Runs the cells of these items that have no `ok` record yet, and reads the records of all."""
        from qbench.results.store import Store
        from qbench.run.runner import run_suite

        cells = [item.cell for item in items if isinstance(item, CellItem)]
        folder = Path(self.config.getoption("qbench_results") or "results")
        outcome = run_suite(
            self.suite,
            folder,
            Told(self.config),
            rules=self._rules(),
            pool=lambda: _pool(self.config),
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
        from qbench.suite.matrix import parse_filter

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


class Told:
    """A run's progress as lines of pytest's terminal; a `Listener`."""

    def __init__(self, config: pytest.Config) -> None:
        self.terminal: Any = config.pluginmanager.get_plugin("terminalreporter")

    def begin(self, run: Any, planned: Any) -> None:
        waiting = sum(plan.state == "run" for plan in planned)
        self._say(f"qbench {run.suite}/{run.name}: {waiting} of {len(planned)} cells to measure")

    def record(self, record: Record) -> None:
        seconds = sum(record.phases.values())
        self._say(f"  {record.status:7} {_name(record.cell)} {seconds:.1f} s {record.reason or ''}".rstrip())

    def note(self, text: str) -> None:
        self._say(text)

    def phase(self, cell: Any, name: str) -> None: ...

    def tick(self) -> None: ...

    def _say(self, line: str) -> None:
        if self.terminal is not None and self.terminal.verbosity >= 0:
            self.terminal.ensure_newline()
            self.terminal.write_line(line)


class Bench:
    """What the fixture `qbench` gives: runs of suites in one folder, with one warm server."""

    def __init__(self, config: pytest.Config, results: Path) -> None:
        self._config = config
        self.results = results
        """Where runs are kept."""

    def run(self, suite: str | Path | Mapping[str, Any], *, fresh: bool = False) -> pd.DataFrame:
        """Measures a suite (a file, a packaged name, or the suite itself as a dict) and returns its frame.

        What was measured before is kept, unless `fresh`. A failed cell is a row with its reason, no error.
        """
        from qbench.run.runner import run_suite
        from qbench.suite.load import load_suite, parse_suite

        loaded = parse_suite(_yaml(suite), "suite") if isinstance(suite, Mapping) else load_suite(suite)
        told, config = Told(self._config), self._config
        outcome = run_suite(loaded, self.results, told, fresh=fresh, pool=lambda: _pool(config))
        if outcome.interrupted:
            raise KeyboardInterrupt
        frame = self.load(outcome.run.folder)
        return frame[frame.cell_id.isin([planned.cell.id for planned in outcome.planned])]

    def load(self, path: str | Path) -> pd.DataFrame:
        """`qbench.load`: the newest run of each suite under a folder, a row per cell."""
        from qbench.results.frame import load

        return load(path)

    def check(self, frame: pd.DataFrame, limits: Mapping[str, float]) -> None:
        """Fails unless every cell is ok or skipped, and no better than its limit allows is missing.

        `limits`: metric → the worst value that passes: the largest where lower is better, else the smallest.
        """
        from qbench.results.history import direction, metrics

        unknown = sorted(set(limits) - set(metrics()))
        if unknown:
            raise ValueError(f"no metric {', '.join(unknown)}; qbench.results.history.metrics() lists them")
        wrong: list[str] = []
        for row in frame.to_dict("records"):
            wrong += _wrong(row, {name: (limit, direction(name)) for name, limit in limits.items()})
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture(scope="session")
def qbench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Runs suites and reads results; see `Bench`. The server that it starts ends with the session."""
    kept = request.config.getoption("qbench_results")
    return Bench(request.config, Path(kept) if kept else tmp_path_factory.mktemp("qbench"))


def _pool(config: pytest.Config) -> Pool:
    from qbench.run.pool import Pool

    if POOL not in config.stash:
        config.stash[POOL] = Pool()
    return config.stash[POOL]


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


def _name(cell: Cell) -> str:
    """`austen-6m-int4-bf16-cpu`, without blanks and colons, which node ids and shells read otherwise."""
    repetition = [f"rep{cell.repetition}"] if cell.repetition else []
    parts = (cell.model.name, cell.label, cell.dtype, *cell.place.split(), *repetition)
    return "-".join(parts).replace(" ", "_").replace("::", ":").replace("/", "_")


def _numbers(record: Record) -> list[tuple[str, object]]:
    from qbench.results.metrics import METRICS

    values = {name: METRICS[name].value(record) for name in SHOWN if name in METRICS}
    return [(name, value) for name, value in values.items() if value is not None]


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


def _yaml(suite: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(suite), sort_keys=False)

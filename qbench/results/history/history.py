"""`history`: every number of every run as series over time, with change points, segments and gaps.

A series is one cell (by its id, which hashes everything that can change a number) and one metric, within a
suite. A run on another machine, driver or set of libraries begins a new segment that is marked as such: no
number is compared across it. Within one environment the level of a timed metric changes at the change points
of `results/stats/change_points.py`, and that of a deterministic one wherever its number is another.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from qbench.errors import ResultsError, did_you_mean
from qbench.fields import Rule
from qbench.results.columns.column import Row
from qbench.results.frames.frame import from_store
from qbench.results.history.history_frame import tidy
from qbench.results.history.runs import HistoryRun, read_runs
from qbench.results.history.series import Change, RunPoint, Series, changes_of
from qbench.results.store.folders import Store
from qbench.results.table.columns import columns, related
from qbench.results.table.metrics import METRICS
from qbench.suite.rules import chosen

NOT_PLANNED = "not in this run"
NO_RECORD = "the run has no record of it: it was interrupted, or is not finished"
NO_MANIFEST = "the run has no record of it, nor a manifest that can be read to say whether it was planned"
_RECORD_PATH = re.compile(r"(?P<suite>[^/\\]+)[/\\](?P<run>[^/\\]+)[/\\](?P<cell>[0-9a-f]{16})\.json")
IDENTITY = ("model", "method", "label", "dtype", "device", "runtime", "repetition")


def history(path: str | Path = "results/", metric: str | None = None) -> pd.DataFrame:
    """A row for each run, cell and metric that was measured at least once, tidy; see `docs/history.md`.

    `metric` is one name of `metrics()`; None: all of them. Files that cannot be read are named in
    `frame.attrs["problems"]`. ResultsError for an unknown metric or a folder without runs.
    """
    store = Store(Path(path), strict=False)
    frame = frame_of(read_series(store, metric))
    frame.attrs["problems"] = list(store.problems)
    return frame


def frame_of(found: Iterable[Series]) -> pd.DataFrame:
    """The frame with a row for each point of the series."""
    return tidy(_rows(found))


def metrics() -> list[str]:
    """Every metric that has a history."""
    measured = (name for name, metric in METRICS.items() if metric.kind in ("deterministic", "timed"))
    return [*measured, *(column.name for column in related())]


def is_deterministic(metric: str) -> bool:
    return columns()[metric].kind == "deterministic"


def read_series(
    store: Store, metric: str | None = None, *, suite: str | None = None, rules: Sequence[Rule] = ()
) -> list[Series]:
    """The series of a store that have at least one value, by suite, cell and metric."""
    if metric is not None and metric not in metrics():
        raise ResultsError(f"no metric {metric!r}; {did_you_mean(metric, metrics())}")
    store.chosen("all")  # which complains where there is none
    known = store.suites()
    if suite is not None and suite not in known:
        raise ResultsError(f"no suite {suite!r} in {store.root}; {did_you_mean(suite, known)}")
    runs: dict[str, list[HistoryRun]] = defaultdict(list)
    for run in read_runs(store):
        if suite in (None, run.suite):
            runs[run.suite].append(run)
    rows = _by_cell(from_store(store, "all"), runs, rules)
    names = [metric] if metric else metrics()
    unread = _unread(store.problems)
    found = [
        _series(key, name, runs[key[0]], cells, unread[key], words)
        for (key, cells), words in zip(rows.items(), _words(rows), strict=True)
        for name in names
    ]
    return [series for series in found if series.measured]


def _unread(problems: Iterable[str]) -> dict[tuple[str, str], dict[str, str]]:
    """(Suite, cell id) → run → reason why the record that is there could not be read."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for problem in problems:
        if path := _RECORD_PATH.search(problem):
            said = f"its record could not be read: {problem[path.start('cell') :]}"
            found[path["suite"], path["cell"]][path["run"]] = said
    return found


def _by_cell(
    frame: pd.DataFrame, runs: Mapping[str, Any], rules: Sequence[Rule]
) -> dict[tuple[str, str], dict[str, Row]]:
    """(Suite, cell id) → run → row of the frame, for the chosen suites and cells."""
    plain = frame.astype("object")
    rows: list[Row] = plain.where(plain.notna(), None).to_dict("records")  # type: ignore[assignment]
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["suite"] in runs:
            found.setdefault((row["suite"], row["cell_id"]), {})[row["run"]] = row
    keys = list(found)
    return {keys[place]: found[keys[place]] for place in chosen([_facts(found[key]) for key in keys], rules)}


def _facts(cells: Mapping[str, Row]) -> Row:
    """Facts of the newest record: names may have changed, the cell has not."""
    row = cells[max(cells)]
    return {**json.loads(row["params"]), **{name: row[name] for name in IDENTITY}}


def _words(rows: Mapping[tuple[str, str], Mapping[str, Row]]) -> list[str]:
    """`austen-6m int4 bf16 cpu`; digits of the id follow where two cells of a suite share a name."""
    said = [(suite, _word(_facts(cells))) for (suite, _), cells in rows.items()]
    count = Counter(said)
    return [
        words if count[suite, words] == 1 else f"{words} #{cell_id[:6]}"
        for (suite, words), (_, cell_id) in zip(said, rows, strict=True)
    ]


def _word(facts: Row) -> str:
    runtime = "" if facts["runtime"] == "eager" else f" {facts['runtime']}"
    repetition = f" repetition {facts['repetition']}" if facts["repetition"] else ""
    return f"{facts['model']} {facts['label']} {facts['dtype']} {facts['device']}{runtime}{repetition}"


def _series(
    key: tuple[str, str],
    metric: str,
    runs: Sequence[HistoryRun],
    cells: Mapping[str, Row],
    unread: Mapping[str, str],
    words: str,
) -> Series:
    suite, cell_id = key
    files = {*cells, *unread}
    known = [place for place, run in enumerate(runs) if cell_id in run.planned or run.name in files]
    first, last = known[0], known[-1]
    points = [
        _point(run, cells[run.name], metric) if run.name in cells else _gap(run, cell_id, unread)
        for run in runs[first : last + 1]
    ]
    facts = _facts(cells)
    return Series(
        suite, cell_id, words, facts, metric,
        points=tuple(points),
        changes=tuple(changes_of(points, is_deterministic(metric), facts["device"])),
        left=next((run for run in runs[last + 1 :] if run.known), None),
    )  # fmt: skip


def _gap(run: HistoryRun, cell_id: str, unread: Mapping[str, str]) -> RunPoint:
    """RunPoint of a run that gave no row: its record is unreadable, lost, or was never planned."""
    if cell_id in run.planned or run.name in unread:
        return RunPoint(run, "missing", None, None, None, unread.get(run.name, NO_RECORD))
    return RunPoint(run, "absent", None, None, None, NOT_PLANNED if run.known else NO_MANIFEST)


def _point(run: HistoryRun, row: Row, metric: str) -> RunPoint:
    ends = (row.get(f"{metric}_low"), row.get(f"{metric}_high"))
    return RunPoint(
        run, row["status"], row[metric], *ends, None if row[metric] is not None else _why(row, metric)
    )


def _why(row: Row, metric: str) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason'] or 'no reason was recorded'}"
    return str(json.loads(row["missing"] or "{}").get(metric, "not recorded"))


def _rows(found: Iterable[Series]) -> Iterable[Row]:
    for series in found:
        begins = {change.place: change for change in series.changes}
        for place, (point, segment) in enumerate(zip(series.points, series.segments(), strict=True)):
            yield _row(series, point, segment, begins.get(place))


def _row(series: Series, point: RunPoint, segment: int, change: Change | None) -> Row:
    run = point.run
    return {
        "suite": series.suite,
        "run": run.name,
        "started_at": run.started_at,
        "commit": run.commit,
        "dirty": run.dirty,
        "qbench": run.version,
        "environment": run.environment_for(str(series.facts["device"]), is_deterministic(series.metric)),
        "cell_id": series.cell_id,
        "cell": series.cell,
        "params": json.dumps(
            {key: value for key, value in series.facts.items() if key not in IDENTITY}, sort_keys=True
        ),
        **{name: series.facts[name] for name in IDENTITY},
        "metric": series.metric,
        "unit": columns()[series.metric].unit,
        "value": point.value,
        "low": point.low,
        "high": point.high,
        "status": point.status,
        "reason": point.reason,
        "segment": segment,
        "is_change_point": change is not None and change.kind == "change point",
        "is_environment_change": change is not None and change.kind == "environment",
        "commit_before": change.before.run.commit if change else None,
    }

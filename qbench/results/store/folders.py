"""Folders of records: `results/<suite>/<run>/manifest.json`, and beside it one JSON per cell.

A run's name starts with its UTC time, so that names sort by age. The root given to a `Store` may be the
whole tree, one suite's folder or one run's folder: it looks for runs at the root and up to two levels
below. A run is a folder with a manifest or with records.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from qbench.errors import ResultsError, did_you_mean
from qbench.json_object import JsonObject
from qbench.results.store.atomic import make_folder, write_json_atomic
from qbench.results.store.parallel import in_parts, uncollected
from qbench.results.store.record import Record

MANIFEST = "manifest.json"
RECORD_NAME = re.compile(r"[0-9a-f]{16}\.json")
Found = TypeVar("Found")


@dataclass(frozen=True, order=True)
class Run:
    """A run's folder; `suite` is the name of the folder that holds it."""

    suite: str
    name: str
    folder: Path


def new_run_name(now: datetime | None = None) -> str:
    """`20261121T105600Z-ab12cd`: UTC to the second, then six random digits against a tie."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def read_json(path: Path | str) -> Any:
    """The file's JSON; ResultsError names the file that is missing, truncated or no JSON."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 a Path takes longer to make than to read
            return orjson.loads(file.read())  # three times as fast as the json module; refuses NaN
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ResultsError(f"{path} is no whole JSON file: {error}") from error


def write_record(run_folder: Path, record: Record) -> Path:
    """Stores the record under its cell's id, atomically, and returns its path."""
    path = run_folder / f"{record.cell.id}.json"
    write_json_atomic(path, record.to_dict())
    return path


def write_manifest(run_folder: Path, manifest: JsonObject) -> Path:
    """Stores the run's manifest atomically, makes the run's folder if need be, and returns the path."""
    make_folder(run_folder)
    path = run_folder / MANIFEST
    write_json_atomic(path, manifest)
    return path


@dataclass
class Store:
    """Reads a tree of results.

    With `strict`, the first file that cannot be read raises a ResultsError; without, it is left out and
    its message is added to `problems`.
    """

    root: Path
    strict: bool = True
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = Path(self.root)

    def runs(self, suite: str | None = None) -> list[Run]:
        """Every run, by suite, oldest first. ResultsError where the root is no folder."""
        if not self.root.is_dir():
            raise ResultsError(f"no results folder {self.root}; run a suite first, or name the folder")
        root = self.root.resolve()
        levels: list[list[Path]] = [[root]]
        for _ in range(2):
            levels.append(
                [child for folder in levels[-1] if not _is_run(folder) for child in _folders(folder)]
            )
        found = [folder for level in levels for folder in level if _is_run(folder)]
        runs = sorted(Run(folder.parent.name, folder.name, folder) for folder in found)
        return [run for run in runs if suite is None or run.suite == suite]

    def suites(self) -> list[str]:
        """Names of the suites that have a run."""
        return sorted({run.suite for run in self.runs()})

    def newest(self, suite: str | None = None) -> list[Run]:
        """The newest run of each suite (or of the one that is named)."""
        return list({run.suite: run for run in self.runs(suite)}.values())

    def chosen(self, runs: str) -> list[Run]:
        """The runs that `newest` (of each suite) or `all` selects; ResultsError where there is none."""
        if runs not in ("newest", "all"):
            raise ResultsError(f"runs = {runs!r}; {did_you_mean(runs, ['newest', 'all'])}")
        found = self.newest() if runs == "newest" else self.runs()
        if not found:
            raise ResultsError(
                f"no runs in {self.root}: neither it nor its folders hold a {MANIFEST} or a record"
            )
        return found

    def manifest(self, run: Run) -> JsonObject:
        """The run's manifest; empty, and a problem noted, where it cannot be read and `strict` is off."""
        return self._tolerate(lambda: _manifest(run.folder / MANIFEST), otherwise={})

    def records(self, run: Run) -> Iterator[Record]:
        """The run's records, by cell id; the ceilings of its device stand in each one's `environment`."""
        yield from self._records(_paths(run.folder), _ceilings(run.folder))

    def by_parts(self, run: Run, read: Callable[[Iterator[Record]], Found]) -> Iterator[Found]:
        """Results of `read` for every batch of the run's records, in their order.

        A run with many records is read by as many processes as there are cores: the result of `read` should
        be small beside its records, and can be pickled.
        """
        ceilings = _ceilings(run.folder)

        def part(paths: Sequence[str]) -> tuple[Found, list[str]]:
            reader = Store(self.root, self.strict)
            with uncollected():
                found = read(reader._records(paths, ceilings))
            return found, reader.problems

        for found, problems in in_parts(_paths(run.folder), part):
            self.problems += problems
            yield found

    def _records(self, paths: Iterable[str], ceilings: JsonObject) -> Iterator[Record]:
        for path in paths:
            read = functools.partial(_record, path, ceilings)
            if (record := self._tolerate(read, otherwise=None)) is not None:
                yield record

    def record(self, run: Run, cell_id: str) -> Record | None:
        """One cell's record; None where the run has none yet."""
        path = run.folder / f"{cell_id}.json"
        if not path.exists():
            return None
        return self._tolerate(lambda: _record(path, _ceilings(run.folder)), otherwise=None)

    def _tolerate(self, read: Callable[[], Found], otherwise: Found) -> Found:
        try:
            return read()
        except ResultsError as error:
            if self.strict:
                raise
            self.problems.append(str(error))
            return otherwise


def only_run(folder: Path) -> Run:
    """The newest run of the one suite under `folder`, or the run that it is; else ResultsError."""
    found = Store(folder).newest()
    if not found:
        raise ResultsError(f"no runs in {folder}; name a suite's folder of results, or a run's")
    if len(found) > 1:
        suites = ", ".join(run.suite for run in found)
        raise ResultsError(f"{folder} holds several suites ({suites}); name one's folder, or a run's")
    return found[0]


def _paths(folder: Path) -> list[str]:
    """Paths of a run's records, sorted; texts, because Paths take long to make and to sort."""
    return [
        f"{folder}{os.sep}{name}"
        for name in sorted(entry.name for entry in os.scandir(folder))
        if name.endswith(".json") and name != MANIFEST and not name.startswith(".")
    ]


def _record(path: Path | str, ceilings: JsonObject) -> Record:
    data = read_json(path)
    try:
        record = Record.from_dict(data)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    found = ceilings.get(record.cell.device)
    if isinstance(found, dict):
        record.environment["ceilings"] = found  # of the dict that was read just now
    return record


def _manifest(path: Path) -> JsonObject:
    data = read_json(path)
    if not isinstance(data, dict):
        raise ResultsError(f"{path}: a manifest is a JSON object, this is a {type(data).__name__}")
    return data


def _ceilings(folder: Path) -> JsonObject:
    """Measured peak rates of the run's machine, by device; empty where no manifest has them."""
    try:
        found = _manifest(folder / MANIFEST).get("ceilings")
    except ResultsError:  # `manifest` is where this is told
        return {}
    return found if isinstance(found, dict) else {}


def _folders(folder: Path) -> list[Path]:
    return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]


def _is_run(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or any(
        RECORD_NAME.fullmatch(path.name) for path in folder.glob("*.json")
    )

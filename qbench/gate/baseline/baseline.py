"""`Baseline`: the values of an accepted run that later runs are compared with, in a file that is committed.

`results/baselines/<suite>/<name>.json` holds a `BaselineCell` a line, so that a diff shows which cells
changed, the environment, and every acceptance with its reason. Only `qbench baseline accept` updates it: a
gate that moves its own baseline drifts down to the regressed level. A checksum detects a file that was
changed by hand or cut off.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from qbench.errors import ResultsError
from qbench.gate.baseline.baseline_cell import BaselineCell, baseline_cells
from qbench.json_object import JsonObject
from qbench.results.store.atomic import write_bytes_atomic
from qbench.results.store.folders import Run, Store, read_json
from qbench.results.store.lock import turn
from qbench.results.store.manifest_facts import facts

SCHEMA = 1
NAME = "baseline"
_AGAIN = "measure a run and accept it anew with `qbench baseline accept`, or restore the file from git"


@dataclass(frozen=True)
class Acceptance:
    """Time and reason of making a run the baseline."""

    run: str
    reason: str
    accepted_at: str
    """ISO 8601, UTC."""
    commit: str | None = None
    """Commit of the qbench that measured it; `+dirty` where its tree had changes."""


@dataclass(frozen=True)
class Baseline:
    """One suite's baseline on one kind of machine."""

    suite: str
    environment: dict[str, str]
    """Flat facts of `qbench.results.store.manifest_facts`."""
    cells: dict[str, BaselineCell]
    acceptances: tuple[Acceptance, ...]
    """Oldest first; the last is the one in force."""

    @property
    def now(self) -> Acceptance:
        """The acceptance in force."""
        return self.acceptances[-1]

    def changes_from(self, earlier: Baseline | None) -> str:
        """`1 new, 0 dropped, 3 changed`: counts of cells; changed ones have other exact values or layers."""
        known = earlier.cells if earlier else {}
        both = [(known[name], cell) for name, cell in self.cells.items() if name in known]
        changed = sum(
            (a.status, a.values, a.nll, a.layers) != (b.status, b.values, b.nll, b.layers) for a, b in both
        )
        return f"{len(self.cells) - len(both)} new, {len(known) - len(both)} dropped, {changed} changed"

    @property
    def failed(self) -> list[BaselineCell]:
        """Cells that were accepted although they did not end well."""
        return [cell for cell in self.cells.values() if cell.status not in ("ok", "skipped")]

    def to_bytes(self) -> bytes:
        """Bytes of the file: a line for each cell, and a checksum over the rest."""
        head = {
            "schema": SCHEMA,
            "suite": self.suite,
            "acceptances": [dataclasses.asdict(one) for one in self.acceptances],
            "environment": self.environment,
        }
        cells = [cell.to_dict() for cell in self.cells.values()]
        lines = ",\n".join(json.dumps(cell, ensure_ascii=False, allow_nan=False) for cell in cells)
        top = json.dumps({**head, "sha256": _checksum(head, cells)}, indent=1, ensure_ascii=False)
        return f'{top[:-2]},\n "cells": [\n{lines}\n ]\n}}\n'.encode()

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Reads the JSON of a file; ResultsError where it is no whole baseline of this schema."""
        if not isinstance(data, dict) or "schema" not in data:
            raise ResultsError("it is no baseline")
        if data["schema"] != SCHEMA:
            raise ResultsError(f"baseline schema {data['schema']!r}; this qbench reads {SCHEMA}")
        try:
            head = {key: data[key] for key in ("schema", "suite", "acceptances", "environment")}
            cells = [BaselineCell.from_dict(cell) for cell in data["cells"]]
            acceptances = tuple(Acceptance(**one) for one in data["acceptances"])
            changed = data["sha256"] != _checksum(head, data["cells"])
        except (KeyError, TypeError, ValueError) as error:
            raise ResultsError(f"it is damaged: {type(error).__name__} {error}") from error
        if changed or not acceptances:
            raise ResultsError("it was changed by other means than `qbench baseline accept`, or damaged")
        by_id = {cell.cell_id: cell for cell in cells}
        return cls(str(data["suite"]), dict(data["environment"]), by_id, acceptances)


def baseline_file(results: Path, suite: str, name: str = NAME) -> Path:
    """`results/baselines/<suite>/<name>.json`."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ResultsError(f"{name!r} is no name of a baseline; use letters, digits, '.', '_' and '-'")
    return results / "baselines" / suite / f"{name}.json"


def read_baseline(path: Path) -> Baseline:
    """Reads a baseline; ResultsError names the file, the fault and the way out."""
    if not _there(path):
        raise ResultsError(f"no baseline {path}; make one with `qbench baseline accept RUN --reason TEXT`")
    try:
        return Baseline.from_dict(read_json(path))
    except ResultsError as error:
        raise ResultsError(f"baseline {path} cannot be used: {error}; {_AGAIN}") from error


def earlier_baseline(path: Path) -> Baseline | None:
    """The baseline that an acceptance replaces; None where it is the first."""
    return read_baseline(path) if _there(path) else None


def accept(
    run: Run,
    path: Path,
    reason: str,
    *,
    allow_failed: bool = False,
    drop_cells: bool = False,
    now: datetime | None = None,
) -> Baseline:
    """Makes the run the baseline at `path`, which keeps its earlier acceptances, and returns it.

    Raises ResultsError for an empty reason, a run that cannot be read or measured nothing, one that is not
    finished or has cells that did not end well (unless they are allowed), one that lacks cells of the earlier
    baseline (unless they are to be dropped), a damaged old baseline, and a place that cannot be written.
    Acceptances at the same time wait for each other.
    """
    if not reason.strip():
        raise ResultsError("a baseline needs a reason; say with --reason why these numbers are right")
    store = Store(run.folder)
    records = list(store.records(run))
    manifest = store.manifest(run)
    cells = baseline_cells(records)
    _check(run, manifest, list(cells.values()), allow_failed)
    moment = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    acceptance = Acceptance(run.name, " ".join(reason.split()), moment, _commit(manifest))
    with turn(path.parent):  # or another acceptance at the same time would be lost
        earlier = earlier_baseline(path)
        if earlier is not None and not drop_cells:
            _check_lost(run, path, [cell for name, cell in earlier.cells.items() if name not in cells])
        acceptances = (*(earlier.acceptances if earlier else ()), acceptance)
        made = Baseline(run.suite, facts(manifest, records), cells, acceptances)
        write_bytes_atomic(path, made.to_bytes())
    return made


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ResultsError(f"cannot read baseline {path}: {error.strerror or error}") from error


def _check(run: Run, manifest: JsonObject, cells: Sequence[BaselineCell], allow_failed: bool) -> None:
    if not any(cell.status == "ok" for cell in cells):
        raise ResultsError(f"{run.folder} holds no ok cell: there is nothing to compare with")
    bad = [f"{cell.cell} ({cell.status})" for cell in cells if cell.status not in ("ok", "skipped")]
    lost = sorted(set(manifest.get("cells", {})) - {cell.cell_id for cell in cells})
    if allow_failed or not (bad or lost):
        return
    wrong = [f"{len(bad)} cells did not end well: {', '.join(bad)}"] if bad else []
    wrong += [f"{len(lost)} planned cells have no record: {', '.join(lost)}"] if lost else []
    raise ResultsError(
        f"{run.folder}: {'; '.join(wrong)}. Mend or finish the run, or accept it so with --allow-failed"
    )


def _check_lost(run: Run, path: Path, lost: Sequence[BaselineCell]) -> None:
    """Refuses to lose cells: a run of a part of the suite would leave the rest without a gate."""
    if lost:
        names = ", ".join(cell.cell for cell in lost)
        raise ResultsError(
            f"{path} has {len(lost)} cells that {run.folder} has not: {names}. "
            "Measure them too; or, where the suite has them no more or with other settings, say --drop-cells"
        )


def _commit(manifest: JsonObject) -> str | None:
    state = (manifest.get("environment") or {}).get("git") or {}
    commit = state.get("commit")
    return f"{commit}+dirty" if commit and state.get("dirty") else commit


def _checksum(head: JsonObject, cells: Sequence[JsonObject]) -> str:
    text = json.dumps([head, list(cells)], sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()

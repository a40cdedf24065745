"""The runs of a results tree in the order of time: start, commit, machine and planned cells.

Left out: the numbers of the cells, which `history.py` adds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from qbench.results.compare.comparable import required
from qbench.results.store.folders import Run, Store
from qbench.results.store.manifest_facts import facts

Facts = dict[str, str]

LONG = 40
"""Longest text, in characters, that is shown whole and not by its differing words."""
_RUN_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class HistoryRun:
    """One run: when and where it was made, and the cells it planned."""

    suite: str
    name: str
    """Name of the run's folder; sorts by time."""
    started_at: datetime | None
    commit: str | None
    """Commit of qbench; None where it was no checkout, or the manifest cannot be read."""
    dirty: bool
    """True where the tree differed from that commit."""
    version: str
    """Version of qbench."""
    environment: Facts
    """Facts that two runs must share for their times to be comparable; see `comparable`."""
    computing: Facts
    """Facts for deterministic numbers: libraries, cores, and the instructions that kernels are chosen by,
    as the gate asks for them (`qbench.results.compare.comparable`). Two processors may share them."""
    planned: dict[str, str]
    """Cell id → label of every cell that was planned."""

    @property
    def known(self) -> bool:
        """True where a manifest was read; without one environment and plan are unknown."""
        return bool(self.environment)

    def environment_for(self, device: str, deterministic: bool) -> Facts:
        """Facts that matter for a cell: without GPUs for one on a CPU, whose numbers no driver changes."""
        facts = self.computing if deterministic else self.environment
        if not device.startswith("cpu"):
            return facts
        return {key: value for key, value in facts.items() if not key.startswith("gpu")}


def read_runs(store: Store) -> list[HistoryRun]:
    """Every run of the store, by suite, oldest first; unreadable manifests are noted in `problems`."""
    return [_history_run(run, store.manifest(run)) for run in store.runs()]


def comparable(environment: Mapping[str, Any]) -> Facts:
    """Machine, driver and libraries, key → text, of a manifest's `environment`.

    The same facts as `qbench.run.provenance.environment.fingerprint` names, less qbench and its commit: that
    they change is what a history is about. What an older manifest lacks is left out.
    """
    cpu, packages = _mapping(environment.get("cpu")), _mapping(environment.get("packages"))
    found = {
        "cpu": cpu.get("model"),
        "cores": cpu.get("cores"),
        "python": ".".join(str(environment.get("python", "")).split(".")[:2]),
        **{name: packages.get(name) for name in ("torch", "transformers", "tokenizers")},
    }
    for number, gpu in enumerate(environment.get("gpus") or ()):
        found[f"gpu {number}"] = _mapping(gpu).get("name")
        found[f"gpu {number} driver"] = _mapping(gpu).get("driver")
    return {key: str(value) for key, value in found.items() if value not in (None, "")}


def differing_facts(before: Facts, after: Facts) -> list[str]:
    """`torch: 2.12.0 → 2.13.0`, a line each; of two long lists only the words that one of them lacks."""
    return [
        f"{key}: {_change(before.get(key, ''), after.get(key, ''))}"
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]


def _change(before: str, after: str) -> str:
    if min(len(before), len(after)) > LONG:
        old, new = set(before.split()), set(after.split())
        before, after = " ".join(sorted(old - new)), " ".join(sorted(new - old))
    return f"{before or 'none'} → {after or 'none'}"


def fingerprint(facts: Facts) -> str:
    """Eight digits that are equal for equal facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _computing(environment: Mapping[str, Any]) -> Facts:
    cores = _mapping(environment.get("cpu")).get("cores")
    found = required(facts({"environment": dict(environment)}, ()), timed=False, gpu=True)
    named = {key.removeprefix("packages."): text for key, text in found.items()}
    return {**named, **({} if cores is None else {"cores": str(cores)})}


def _history_run(run: Run, manifest: Mapping[str, Any]) -> HistoryRun:
    environment = _mapping(manifest.get("environment"))
    git = _mapping(environment.get("git"))
    return HistoryRun(
        run.suite, run.name, _time(manifest.get("started_at"), run.name),
        str(git["commit"]) if git.get("commit") else None, bool(git.get("dirty")),
        str(environment.get("qbench", "")), comparable(environment), _computing(environment),
        {str(key): str(value) for key, value in _mapping(manifest.get("cells")).items()},
    )  # fmt: skip


def _time(started: Any, name: str) -> datetime | None:
    """Start of the manifest; where that is lost, the one that the run's name starts with."""
    try:
        return datetime.fromisoformat(started)
    except (TypeError, ValueError):
        return _time_of_name(name)


def _time_of_name(name: str) -> datetime | None:
    try:
        return datetime.strptime(name.partition("-")[0], _RUN_STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

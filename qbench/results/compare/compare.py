"""`compare`: two sets of records side by side, deterministic numbers bit for bit and timed ones as ratios.

Cells are matched by their id, so that only numbers of the same measurement meet. Metrics of kind
`deterministic`, and the values that they are computed from (log likelihood and divergence of every window,
the outcome of every document of a task), are compared exactly: no tolerance would tell a different rounding
from a missing seed. Timed ones are shown as a ratio with the range of the single rounds, without a test.

Left out: pairing of rounds. Two runs were never interleaved with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbench.errors import ResultsError
from qbench.probes.quality.metrics import windows
from qbench.results.compare.comparison import Comparison, Difference, Pair, Timed, status_changes
from qbench.results.compare.paired import paired
from qbench.results.store.folders import Store
from qbench.results.store.lookup import probe
from qbench.results.store.manifest_facts import differing, facts
from qbench.results.store.record import Record, by_id
from qbench.results.table.metrics import METRICS

WINDOWS = "nll by window"
"""Name of the losses by window, compared beside the metrics made of them, so that no two errors cancel."""
DIVERGENCES = {"kl": "kl by window", "agree": "top-1 agreement by window"}
"""Sums in the sample of divergence → their names in a comparison."""

Values = Mapping[str, float | list[Any]]
"""Metric → its value, or raw values of which there are many; a value may be None or a list of numbers."""


def compare(a: Iterable[Record], b: Iterable[Record], environment: Sequence[str] = ()) -> Comparison:
    """Compares two sets of records; cells come in the order of their start in `a`."""
    first, second = by_id(a), by_id(b)
    both = [(first[name], second[name]) for name in first if name in second]
    not_ok = status_changes(both)
    return Comparison(
        pairs=tuple(pair_of(*found) for found in both if all(record.status == "ok" for record in found)),
        only_a=tuple(described(record) for name, record in first.items() if name not in second),
        only_b=tuple(described(record) for name, record in second.items() if name not in first),
        not_ok=tuple(line for _, line in not_ok),
        ends=tuple(end for end, _ in not_ok),
        environment=tuple(environment),
    )


@dataclass(frozen=True)
class Source:
    """A folder that was read: the newest run of each of its suites."""

    folder: Path
    runs: tuple[str, ...]
    records: tuple[Record, ...]
    facts: Mapping[str, str]
    """Facts of machine and software; see `manifest_facts`."""


def read_source(folder: Path) -> Source:
    """Reads a folder; ResultsError where it has no run, or a file of it cannot be read."""
    store = Store(folder)
    runs = store.newest()
    if not runs:
        raise ResultsError(f"no runs in {folder}; name a results folder, a suite's in it, or a run's")
    records = {run: list(store.records(run)) for run in runs}
    known = {key: text for run in runs for key, text in facts(store.manifest(run), records[run]).items()}
    together = tuple(record for found in records.values() for record in found)
    return Source(folder, tuple(f"{run.suite}/{run.name}" for run in runs), together, known)


def compare_sources(a: Source, b: Source) -> Comparison:
    return compare(a.records, b.records, differing(a.facts, b.facts))


def compare_folders(a: Path, b: Path) -> Comparison:
    """Compares the newest run of each suite under `a` with those under `b`; both need one (ResultsError)."""
    return compare_sources(read_source(a), read_source(b))


def pair_of(a: Record, b: Record) -> Pair:
    """Comparison of one cell that was measured twice."""
    values = deterministic(a), deterministic(b)
    return Pair(
        a.cell.id, a.cell.model.name, a.cell.label, a.cell.dtype, a.cell.device,
        compared=tuple(values[0] | values[1]),
        differences=differences(*values),
        timed=tuple(timed for name in METRICS if (timed := _timed(name, a, b))),
        paired=paired(a, b),
    )  # fmt: skip


def deterministic(record: Record) -> dict[str, float | list[Any]]:
    """Every deterministic number of the record; those that it lacks are absent."""
    found: dict[str, float | list[Any]] = {
        name: value
        for name, metric in METRICS.items()
        if metric.kind == "deterministic" and (value := metric.value(record)) is not None
    }
    if measured := windows(record):
        found[WINDOWS] = measured[0]
    divergence = probe(record, "perplexity").get("divergence") or {}
    found |= {name: divergence[key] for key, name in DIVERGENCES.items() if divergence.get(key)}
    return found | dict(_by_document(record))


def _by_document(record: Record) -> Iterator[tuple[str, list[Any]]]:
    """Outcomes and log likelihoods of the tasks by document, with their names."""
    for task in probe(record, "tasks").get("tasks") or ():
        for metric, values in task["items"].items():
            yield f"{task['name']} {metric} by document", values
        if task["log_likelihoods"]:
            yield f"{task['name']} log likelihood by document", task["log_likelihoods"]


def differences(a: Values, b: Values) -> tuple[Difference, ...]:
    """Metrics whose values are not exactly equal; for a list the first entry that differs."""
    return tuple(
        Difference(name, *_first_that_differs(a.get(name), b.get(name)))
        for name in {**a, **b}
        if a.get(name) != b.get(name)
    )


def described(record: Record) -> str:
    """`austen-6m int4 bf16 cpu (ok)`."""
    cell = record.cell
    repetition = f" repetition {cell.repetition}" if cell.repetition else ""
    return f"{cell.model.name} {cell.label} {cell.dtype} {cell.device}{repetition} ({record.status})"


def _first_that_differs(a: Any, b: Any) -> tuple[float | None, float | None]:
    """First pair of numbers that differs; of lists of which one begins the other, the lengths."""
    if isinstance(a, list) and isinstance(b, list):
        pair = next(((x, y) for x, y in zip(a, b, strict=False) if x != y), (float(len(a)), float(len(b))))
        return _first_that_differs(*pair)
    return tuple(None if isinstance(value, list) else value for value in (a, b))  # type: ignore[return-value]


def _timed(name: str, a: Record, b: Record) -> Timed | None:
    metric = METRICS[name]
    before, now = metric.value(a), metric.value(b)
    if metric.kind != "timed" or before is None or now is None or not before:
        return None
    rounds = [metric.repetitions(record) if metric.repetitions else () for record in (a, b)]
    low = high = None
    if all(rounds) and all(min(values) > 0 for values in rounds):
        low, high = min(rounds[1]) / max(rounds[0]), max(rounds[1]) / min(rounds[0])
    return Timed(name, before, now, now / before, low, high)

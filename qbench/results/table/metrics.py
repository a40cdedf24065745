"""`METRICS`: the one table of the numbers that can be read from a record, assembled from their declarations.

Layers and phases declare theirs in `qbench/results/columns/`, each probe in its folder, and packages of
others through the entry point `qbench.metrics`, which names a `Metric` or a tuple of them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter

from qbench.errors import ResultsError, did_you_mean
from qbench.probes.registry import probes
from qbench.results.columns import layers, phases
from qbench.results.columns.column import GROUPS
from qbench.results.columns.metric import Metric, Text
from qbench.results.store.lookup import WHOLE_END, Value, absent, within
from qbench.results.store.record import Record

__all__ = ["METRICS", "TEXTS", "Metric", "assembled", "values"]

GROUP = "qbench.metrics"
Declared = Iterable[tuple[str, Metric]]
"""Source of a metric in words, and the metric."""


def assembled(declared: Declared) -> dict[str, Metric]:
    """Metrics by name, in the order of groups; ResultsError for two of one name, naming both sources."""
    found: dict[str, tuple[str, Metric]] = {}
    for source, metric in declared:
        if metric.name in found:
            first = found[metric.name][0]
            raise ResultsError(f"the metric {metric.name!r} is declared by {first} and by {source}")
        found[metric.name] = source, metric
    metrics = sorted((metric for _, metric in found.values()), key=lambda one: GROUPS.index(one.group))
    return {metric.name: metric for metric in metrics}


def _declared() -> Iterator[tuple[str, Metric]]:
    yield from (("qbench's layers", metric) for metric in layers.METRICS)
    yield from (("qbench's phases", metric) for metric in phases.METRICS)
    for probe in probes().values():
        yield from ((f"the probe {probe.name}", metric) for metric in probe.metrics)
    for point in sorted(entry_points(group=GROUP), key=attrgetter("name")):
        yield from _of_entry_point(point)


def _of_entry_point(point: EntryPoint) -> Iterator[tuple[str, Metric]]:
    """ResultsError where it cannot be loaded, or gives something else."""
    source = f"{point.value} of {point.dist.name if point.dist else 'a package'}"
    try:
        given = point.load()
    except Exception as error:  # whatever a package of somebody else's does
        raise ResultsError(
            f"{source} under {GROUP} cannot be loaded ({type(error).__name__}: {error}); mend or uninstall it"
        ) from error
    for metric in given if isinstance(given, tuple) else (given,):
        if not isinstance(metric, Metric):
            raise ResultsError(f"{source} under {GROUP} is no Metric nor a tuple of them, but {metric!r}")
        if metric.source not in (known := (*probes(), "layers", "phases", "model")):
            near = did_you_mean(metric.source, known)
            raise ResultsError(f"the metric {metric.name!r} of {source} reads {metric.source!r}; {near}")
        yield source, _guarded(source, metric)


def _guarded(source: str, metric: Metric) -> Metric:
    """The metric of another package: a fault of it makes its own value null, with the reason."""

    def tried(record: Record) -> tuple[Value, str | None]:
        try:
            value = metric.value(record)
            if value is None:
                return None, metric.why(record) if metric.why else None
        except Exception as error:  # whatever somebody else's code raises
            return None, f"{source} failed: {type(error).__name__}: {error}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None, f"{source} gave {value!r:.60}, which is no number"
        return value, None

    return dataclasses.replace(
        metric, value=lambda record: tried(record)[0], why=lambda record: tried(record)[1]
    )


METRICS: dict[str, Metric] = assembled(_declared())
TEXTS: tuple[Text, ...] = (*(text for probe in probes().values() for text in probe.texts), *layers.TEXTS)
"""Texts that can be read from a record."""

_BY_SOURCE = tuple(
    (source, {metric.name: metric for metric in metrics})
    for source, metrics in itertools.groupby(METRICS.values(), attrgetter("source"))
)


def values(record: Record) -> tuple[dict[str, Value], dict[str, str]]:
    """Every metric of the record; and of an ok one, why those are null that are.

    A probe that gave nothing is asked once, not by each of its metrics.
    """
    found: dict[str, Value] = {}
    reasons: dict[str, str] = {}
    for source, metrics in _BY_SOURCE:
        nothing = absent(record, source)
        if nothing is not None:
            found |= dict.fromkeys(metrics)
            reasons |= dict.fromkeys(metrics, nothing)
            continue
        for name, metric in metrics.items():
            value = found[name] = metric.value(record)
            if value is None:
                if record.status == "ok":
                    why = metric.why
                    reasons[name] = (why and why(record)) or within(record, source, name)
            elif value >= WHOLE_END and metric.dtype == "Int64":
                found[name], reasons[name] = None, "larger than a whole number of 64 bits"
    return found, reasons if record.status == "ok" else {}

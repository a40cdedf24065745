"""The raw samples of one record, quantity by quantity: those of every probe, then the phases."""

from __future__ import annotations

from collections.abc import Iterator

from qbench.probes.registry import probes
from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.record import Record


def raw_series(record: Record) -> Iterator[RawSeries]:
    """Every raw number of the record's samples and phases, in the order of the probes."""
    for probe in probes().values():
        if probe.name in record.samples:
            yield from probe.series(record)
    for name, seconds in record.phases.items():
        yield RawSeries("phases", name, "s", [seconds])


def quantities() -> dict[tuple[str, str], str]:
    """(probe, quantity) → meaning."""
    found = {
        (probe.name, name): meaning
        for probe in probes().values()
        for name, meaning in probe.quantities.items()
    }
    return {**found, ("phases", "start, load, …"): "seconds of a phase of the worker"}

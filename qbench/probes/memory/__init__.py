"""Memory: bytes on disk, resident by part, and at the peak."""

from __future__ import annotations

from qbench.probes.memory.metrics import METRICS
from qbench.probes.memory.section import MemorySpec
from qbench.probes.memory.series import QUANTITIES, series
from qbench.probes.probe import Probe

PROBE = Probe(
    name="memory",
    settings=MemorySpec,
    unit="B",
    description="bytes on disk, resident by part, and at the peak",
    order=20,
    entry="qbench.probes.memory.measure.footprint:measure",
    metrics=METRICS,
    title="Bytes; false: off",
    default=MemorySpec(),
    series=series,
    quantities=QUANTITIES,
)

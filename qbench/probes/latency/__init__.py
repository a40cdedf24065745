"""Latency: time to first token, and every decode step by itself."""

from __future__ import annotations

from qbench.probes.latency.metrics import METRICS
from qbench.probes.latency.section import LatencySpec
from qbench.probes.latency.series import QUANTITIES, series
from qbench.probes.probe import Probe

PROBE = Probe(
    name="latency",
    settings=LatencySpec,
    unit="s",
    description="prefill and each decode step, by prompt and batch",
    order=30,
    entry="qbench.probes.latency.measure.timing:measure",
    metrics=METRICS,
    title="Prefill and decode time; false: off",
    default=LatencySpec(),
    series=series,
    quantities=QUANTITIES,
    clock="rounds",
)

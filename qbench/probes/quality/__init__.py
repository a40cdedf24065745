"""Quality: perplexity, and divergence from the unquantized model."""

from __future__ import annotations

from qbench.probes.probe import Probe
from qbench.probes.quality.metrics import METRICS, TEXTS
from qbench.probes.quality.section import QualitySpec
from qbench.probes.quality.series import QUANTITIES, series

PROBE = Probe(
    name="perplexity",
    settings=QualitySpec,
    unit="nat",
    description="negative log likelihood by window of held-out text",
    order=10,  # Perplexity first: nothing that runs later may change what it sees.
    entry="qbench.probes.quality.measure.perplexity:measure",
    metrics=METRICS,
    title="Perplexity; false: off",
    default=QualitySpec(),
    series=series,
    quantities=QUANTITIES,
    texts=TEXTS,
)

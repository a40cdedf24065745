"""Quality: perplexity, and divergence from the unquantized model."""

from __future__ import annotations

from qbench.probes.probe import Probe
from qbench.probes.quality.metrics import METRICS, TEXTS

PROBE = Probe(
    name="perplexity",
    section="quality",
    unit="nat",
    description="negative log likelihood by window of held-out text",
    order=10,  # Perplexity first: nothing that runs later may change what it sees.
    entry="qbench.probes.quality.measure.perplexity:measure",
    metrics=METRICS,
    texts=TEXTS,
)

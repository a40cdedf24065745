"""Energy: joules per token from the measured windows, gross and net of what an idle device draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qbench.results.metric import Metric
from qbench.results.record import Record
from qbench.results.samples import Value, probe


def joules_per_token(part: str, *, net: bool) -> Callable[[Record], Value]:
    """Median over the windows of `part`; net takes off what the idle device drew in the same time."""

    def value(record: Record) -> Value:
        found = probe(record, "energy").get(part) or {}
        gross, tokens = found.get("gross_j"), found.get("tokens")
        if not gross or not tokens or (net and found.get("idle_w") is None):
            return None
        idle = found["idle_w"] * np.asarray(found["window_s"]) if net else 0.0
        return float(np.median((np.asarray(gross) - idle) / np.asarray(tokens)))

    return value


METRICS = (
    Metric(
        "energy_j_per_token", "J", "lower", "timed", "energy", 3,
        "gross energy per generated token; null with the reason in energy_reason",
        joules_per_token("decode", net=False),
    ),
    Metric(
        "energy_j_per_prompt_token", "J", "lower", "timed", "energy", 3,
        "gross energy per prompt token", joules_per_token("prefill", net=False),
    ),
    Metric(
        "energy_net_j_per_token", "J", "lower", "timed", "energy", 3,
        "energy per generated token less what the idle device draws in the same time",
        joules_per_token("decode", net=True),
    ),
)  # fmt: skip

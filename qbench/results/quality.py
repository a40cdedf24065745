"""Quality: what the negative log likelihood of held-out text by window comes to."""

from __future__ import annotations

import math

from qbench.results.metric import Metric, fact
from qbench.results.record import Record
from qbench.results.samples import Value, probe


def windows(record: Record) -> tuple[list[float], list[float]] | None:
    """Negative log likelihood (nat) and number of targets, by window; None where any is not finite."""
    found = probe(record, "perplexity")
    nll, tokens = found.get("nll"), found.get("tokens")
    if not nll or not tokens or len(nll) != len(tokens):
        return None
    return (nll, tokens) if _finite(nll) else None


def _finite(values: list[float | None]) -> bool:
    """Whether all are numbers and finite; by their sum, since this runs for every cell of a large folder."""
    try:
        return math.isfinite(math.fsum(values))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # a null, inf − inf
        return False


def nll_per_token(record: Record) -> Value:
    measured = windows(record)
    return math.fsum(measured[0]) / math.fsum(measured[1]) if measured else None


def perplexity(record: Record) -> Value:
    nats = nll_per_token(record)
    return math.exp(nats) if nats is not None and nats < 700 else None


def token_count(record: Record) -> Value:
    measured = windows(record)
    return math.fsum(measured[1]) if measured else None


METRICS = (
    Metric(
        "perplexity", "", "lower", "deterministic", "perplexity", 4,
        "exp of the mean negative log likelihood per token; compare within one perplexity_protocol only",
        perplexity,
    ),
    Metric(
        "nll_per_token", "nat", "lower", "deterministic", "perplexity", 5,
        "mean negative log likelihood per scored token", nll_per_token,
    ),
    fact("perplexity_tokens", "perplexity", "scored tokens", token_count),
)  # fmt: skip

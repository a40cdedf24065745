"""Quality: what the losses of held-out text by window, and the distance from the base, come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from qbench.results.columns.metric import Direction, Metric, fact
from qbench.results.store.lookup import Value, finite, number, positive, probe, remembered
from qbench.results.store.record import Record

LARGEST = 700
"""Of an exponent: a float ends at e^709."""


@remembered
def windows(record: Record) -> tuple[list[float], list[float]] | None:
    """Negative log likelihood (nat) and number of targets, by window; None where any is not finite, or
    nothing was scored."""
    found = probe(record, "perplexity")
    nll, tokens = found.get("nll"), found.get("tokens")
    if not nll or not tokens or len(nll) != len(tokens):
        return None
    return (nll, tokens) if finite(nll) and positive(tokens) else None


@remembered
def divergence(record: Record) -> Mapping[str, Any]:
    """How far the cell is from the unquantized model, by window; empty where it was not measured."""
    found = probe(record, "perplexity").get("divergence") or {}
    return found if "reason" not in found and positive(found.get("scored", ())) else {}


@remembered
def nll_per_token(record: Record) -> Value:
    measured = windows(record)
    return math.fsum(measured[0]) / math.fsum(measured[1]) if measured else None


def perplexity(record: Record) -> Value:
    nats = nll_per_token(record)
    return math.exp(nats) if nats is not None and nats < LARGEST else None


def _too_large(nats: float | None) -> str | None:
    """Why there is no exponential of it; None where the cause is another."""
    return None if nats is None or nats < LARGEST else f"beyond e^{LARGEST}, too large for a number"


def token_count(record: Record) -> Value:
    measured = windows(record)
    return math.fsum(measured[1]) if measured else None


def per_unit(unit: str, *, bits: bool = False) -> Callable[[Record], Value]:
    """exp(Σ nll / `unit`s of the text), or in bits the exponent over log 2; None where not all was scored."""

    def value(record: Record) -> Value:
        nats = _nats_per(record, unit)
        if nats is None:
            return None
        if bits:
            return nats / math.log(2)
        return math.exp(nats) if nats < LARGEST else None

    return value


def _nats_per(record: Record, unit: str) -> Value:
    measured, count = windows(record), number(probe(record, "perplexity").get(unit))
    return math.fsum(measured[0]) / count if measured and count else None


def per_token(name: str) -> Callable[[Record], Value]:
    """Σ of `name` by window over the tokens that were scored."""

    def value(record: Record) -> Value:
        found = divergence(record)
        return math.fsum(found[name]) / sum(found["scored"]) if found else None

    return value


def kl_quantile(fraction: float) -> Callable[[Record], Value]:
    def value(record: Record) -> Value:
        found = divergence(record)
        return number(found["kl_quantiles"][str(fraction)]) if found else None

    return value


def kl_max(record: Record) -> Value:
    return number(divergence(record).get("kl_max"))


def rms_delta_p(record: Record) -> Value:
    mean = per_token("delta_p_squared")(record)
    return None if mean is None else math.sqrt(mean)


def _apart(
    name: str, unit: str, direction: Direction, description: str, value: Callable[[Record], Value]
) -> Metric:
    return Metric(name, unit, direction, "deterministic", "perplexity", 3, description, value)


def _kl(name: str, description: str, value: Callable[[Record], Value]) -> Metric:
    return _apart(name, "nat", "lower", description, value)


_KL = "Kullback-Leibler divergence of the cell's next token from the unquantized model's"

METRICS = (
    Metric(
        "perplexity", "", "lower", "deterministic", "perplexity", 4,
        "exp of the mean negative log likelihood per token; compare within one perplexity_protocol only",
        perplexity, lambda record: _too_large(nll_per_token(record)),
    ),
    Metric(
        "nll_per_token", "nat", "lower", "deterministic", "perplexity", 5,
        "mean negative log likelihood per scored token", nll_per_token,
    ),
    Metric(
        "word_perplexity", "", "lower", "deterministic", "perplexity", 4,
        "exp of the negative log likelihood per word of the text; protocol lm-eval only", per_unit("words"),
        lambda record: _too_large(_nats_per(record, "words")),
    ),
    Metric(
        "byte_perplexity", "", "lower", "deterministic", "perplexity", 4,
        "exp of the negative log likelihood per byte of the text; protocol lm-eval only", per_unit("bytes"),
        lambda record: _too_large(_nats_per(record, "bytes")),
    ),
    Metric(
        "bits_per_byte", "bit", "lower", "deterministic", "perplexity", 4,
        "negative log likelihood per byte of the text; protocol lm-eval only", per_unit("bytes", bits=True),
    ),
    _kl("kl_divergence", f"{_KL}, mean over tokens", per_token("kl")),
    _kl("kl_median", "median of the same over tokens", kl_quantile(0.5)),
    _kl("kl_p90", "90th percentile of the same", kl_quantile(0.9)),
    _kl("kl_p95", "95th percentile of the same", kl_quantile(0.95)),
    _kl("kl_p99", "99th percentile of the same", kl_quantile(0.99)),
    _kl("kl_p999", "99.9th percentile of the same", kl_quantile(0.999)),
    _kl("kl_max", "largest of the same", kl_max),
    _apart(
        "top1_agreement", "", "higher",
        "share of tokens for which cell and unquantized model put the same token first", per_token("agree"),
    ),
    _apart(
        "rms_delta_p", "", "lower",
        "root mean square of the change in probability of the token that came", rms_delta_p,
    ),
    fact("perplexity_tokens", "perplexity", "scored tokens", token_count),
)  # fmt: skip

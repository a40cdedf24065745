"""Quality: what the losses of held-out text by window, and the distance from the base, come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qbench.results.columns.column import Direction, Display, Gate, Place
from qbench.results.columns.metric import ByWindow, Metric, Text, VersusBase, fact
from qbench.results.store.lookup import Value, finite, number, positive, probe, remembered
from qbench.results.store.record import Record

if TYPE_CHECKING:
    from qbench.results.stats.bootstrap import Kind as Correlation

LARGEST = 700
"""Largest exponent that is raised: a float ends at e^709."""


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
    """Distance of the cell from the unquantized model, by window; empty where it was not measured."""
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
    """Reason that the exponential is null; None where the cause is another."""
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


def protocol(record: Record) -> str | None:
    """`gptq, 512 tokens, builtin:persuasion`: what has to be equal before two perplexities are compared.

    `strided, 512 tokens, test.txt 1f3870be, stride 256`: a text of the user's own has the first digits of its
    hash, since two files may share a name.
    """
    found = probe(record, "perplexity")
    if not found:
        return None
    kind, seqlen = found.get("protocol"), found.get("seqlen")
    stride = f", stride {found.get('stride') or seqlen}" if kind == "strided" else ""
    return f"{kind}, {seqlen} tokens, {_text(found.get('corpus') or {})}{stride}"


def _text(corpus: Mapping[str, Any]) -> str:
    name, digits = str(corpus.get("name")), str(corpus.get("sha256") or "")[:8]
    return name if name.startswith("builtin:") or not digits else f"{name} {digits}"


def _scored_on(record: Record) -> tuple[Hashable, ...]:
    """Protocol, text, window length and stride."""
    found = probe(record, "perplexity")
    corpus = (found.get("corpus") or {}).get("sha256")
    return found.get("protocol"), corpus, found.get("seqlen"), found.get("stride")


def _losses(record: Record) -> list[float] | None:
    measured = windows(record)
    return measured[0] if measured else None


def _tokens(record: Record) -> Sequence[float]:
    """Scored tokens by window, of a text whose losses are not finite too."""
    return probe(record, "perplexity").get("tokens") or ()


def _by_loss(
    *, units: str = "", exponential: bool = False, per_bit: bool = False, interval: bool = False
) -> ByWindow:
    """A mean of the losses over tokens, or over the words or bytes of the text."""
    count = _count(units) if units else None
    return ByWindow(
        _losses, _tokens, _scored_on, exponential=exponential, units=count, per_bit=per_bit, interval=interval
    )


def _count(unit: str) -> Callable[[Record], Value]:
    return lambda record: number(probe(record, "perplexity").get(unit))


def _by_distance(name: str, own: Correlation, paired: Correlation) -> ByWindow:
    """A mean of what divergence sums up by window."""
    return ByWindow(
        lambda record: divergence(record).get(name), lambda record: divergence(record).get("scored", ()),
        _scored_on, own, paired,
    )  # fmt: skip


_KL_BY_WINDOW = _by_distance("kl", "own", "own")
_AGREEMENT_BY_WINDOW = _by_distance("agree", "difference", "difference")
"""Sums of KL correlate from one window to the next nearly as losses do, by 0.32 and 0.30 (medians over the
two models of the committed tour), and differences of two cells by 0.25 and 0.27; those of top-1 agreement
hardly at all (−0.01)."""

_FACTOR = Gate(1.005)
_SHOWN_ONLY = Gate(None, "difference")
_MEASURED_BY = ("perplexity_protocol",)


def _quality(
    name: str, unit: str, direction: Direction, digits: int, description: str,
    value: Callable[[Record], Value], *, gate: Gate | None = None, by_window: ByWindow | None = None,
    why: Callable[[Record], str | None] | None = None, place: Place = Place.BODY, title: str = "",
    display: Display | None = None, versus: VersusBase | None = None,
) -> Metric:  # fmt: skip
    return Metric(
        name, unit, direction, "deterministic", "perplexity", digits, description, value, why, gate,
        "Quality", title, display, place, by_window, versus=versus, conditions=_MEASURED_BY,
    )  # fmt: skip


def _kl(name: str, description: str, value: Callable[[Record], Value], gate: Gate | None = None) -> Metric:
    return _quality(name, "nat", "lower", 3, description, value, gate=gate)


_KL = "Kullback-Leibler divergence of the cell's next token from the unquantized model's"

METRICS = (
    _quality(
        "perplexity", "", "lower", 4,
        "exp of the mean negative log likelihood per token; compare within one perplexity_protocol only",
        perplexity, gate=_FACTOR, by_window=_by_loss(exponential=True, interval=True),
        why=lambda record: _too_large(nll_per_token(record)), place=Place.LEADING,
        display=Display(70, terminal=55, markdown=15),
        versus=VersusBase(
            "ratio", description="perplexity over that of the base, paired over the same windows",
            title="Perplexity × base", digits=4, display=Display(20, head="× base", spread=True),
            gate=_FACTOR, place=Place.LEADING,
        ),
    ),
    _quality(
        "nll_per_token", "nat", "lower", 5, "mean negative log likelihood per scored token", nll_per_token,
        gate=_SHOWN_ONLY, by_window=_by_loss(), place=Place.LEADING,
    ),
    _quality(
        "word_perplexity", "", "lower", 4,
        "exp of the negative log likelihood per word of the text; protocol lm-eval only", per_unit("words"),
        gate=_FACTOR, by_window=_by_loss(units="words", exponential=True),
        why=lambda record: _too_large(_nats_per(record, "words")),
    ),
    _quality(
        "byte_perplexity", "", "lower", 4,
        "exp of the negative log likelihood per byte of the text; protocol lm-eval only", per_unit("bytes"),
        gate=_FACTOR, by_window=_by_loss(units="bytes", exponential=True),
        why=lambda record: _too_large(_nats_per(record, "bytes")),
    ),
    _quality(
        "bits_per_byte", "bit", "lower", 4,
        "negative log likelihood per byte of the text; protocol lm-eval only", per_unit("bytes", bits=True),
        gate=_FACTOR, by_window=_by_loss(units="bytes", per_bit=True),
    ),
    _quality(
        "kl_divergence", "nat", "lower", 3, f"{_KL}, mean over tokens", per_token("kl"),
        gate=Gate(0.005, "difference"), by_window=_KL_BY_WINDOW, place=Place.LEADING, title="KL",
        display=Display(30, terminal=75),
    ),
    _kl("kl_median", "median of the same over tokens", kl_quantile(0.5)),
    _kl("kl_p90", "90th percentile of the same", kl_quantile(0.9)),
    _kl("kl_p95", "95th percentile of the same", kl_quantile(0.95)),
    _kl("kl_p99", "99th percentile of the KL divergence over tokens", kl_quantile(0.99), _SHOWN_ONLY),
    _kl("kl_p999", "99.9th percentile of the same", kl_quantile(0.999)),
    _kl("kl_max", "largest KL divergence of a token", kl_max, _SHOWN_ONLY),
    _quality(
        "top1_agreement", "", "higher", 3,
        "share of tokens for which cell and unquantized model put the same token first", per_token("agree"),
        gate=Gate(0.005, "difference"), by_window=_AGREEMENT_BY_WINDOW, place=Place.LEADING, title="Top-1",
        display=Display(80, markdown=0),
    ),
    _quality(
        "rms_delta_p", "", "lower", 3, "root mean square of the change in probability of the token that came",
        rms_delta_p, gate=_SHOWN_ONLY,
    ),
    fact("perplexity_tokens", "perplexity", "scored tokens", token_count, group="Quality",
         conditions=_MEASURED_BY),
)  # fmt: skip

TEXTS = (
    Text(
        "perplexity_protocol", "protocol, window length, corpus and stride of the quality columns", protocol,
        "category", place=Place.IDENTITY, dimension=True,
    ),
)  # fmt: skip

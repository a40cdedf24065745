"""Raw samples of quality: sums by window."""

from __future__ import annotations

from collections.abc import Iterator

from qbench.probes.quality.metrics import divergence
from qbench.results.columns.raw_series import RawSeries
from qbench.results.store.lookup import number, probe
from qbench.results.store.record import Record

QUANTITIES = {
    "nll": "negative log likelihood, by window",
    "kl": "Kullback-Leibler divergence from the unquantized model, summed by window",
    "agree": "tokens that both put first, by window",
    "delta_p_squared": "squared change in probability of the token that came, summed by window",
    "kl_quantile": "quantile of the divergence over tokens; `item` is the share",
    "kl_max": "its largest token",
    "words": "words of the text; protocol lm-eval",
    "bytes": "bytes of the text; protocol lm-eval",
    "elapsed_s": "seconds that scoring took",
}
"""Quantity → meaning."""


def series(record: Record) -> Iterator[RawSeries]:
    found, apart = probe(record, "perplexity"), divergence(record)
    if nll := found.get("nll"):
        yield RawSeries("perplexity", "nll", "nat", nll, index=range(len(nll)), tokens=found.get("tokens"))
    for name, unit in (("kl", "nat"), ("agree", "tokens"), ("delta_p_squared", "")):
        if sums := apart.get(name):
            yield RawSeries("perplexity", name, unit, sums, index=range(len(sums)), tokens=apart["scored"])
    for share, value in (apart.get("kl_quantiles") or {}).items():
        yield RawSeries("perplexity", "kl_quantile", "nat", [value], item=share)
    singles = (("kl_max", "nat", apart), ("words", "words", found), ("bytes", "B", found))
    for name, unit, where in (*singles, ("elapsed_s", "s", found)):
        if (value := number(where.get(name))) is not None:
            yield RawSeries("perplexity", name, unit, [value])

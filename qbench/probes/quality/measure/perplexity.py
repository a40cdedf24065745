"""Quality probe: negative log likelihood per window under a named protocol, and divergence from the base.

Perplexity itself is computed on reading: exp(Σ nll / Σ tokens). See `protocols.py` for how windows are cut,
`scoring.py` for how they are scored, `base_outputs.py` for what divergence is measured from.
"""

from __future__ import annotations

import math
import time

from qbench.errors import ModelError
from qbench.json_object import JsonObject
from qbench.measure.bench import Bench
from qbench.measure.generation import check_context
from qbench.models.corpora import corpus_name, corpus_sha256
from qbench.probes.quality.measure.base_outputs import BaseOutputs, key
from qbench.probes.quality.measure.protocols import Cut, Rule, Window, cut
from qbench.probes.quality.measure.scoring import Scores, score
from qbench.probes.quality.section import QualitySettings


def windows_of(bench: Bench) -> Cut:
    """The text of the cell under its protocol; ModelError where it or the model's context is too short."""
    quality = QualitySettings.required(bench.cell)
    check_context(bench.model, quality.seqlen, "quality.seqlen")
    documents = bench.documents(quality.corpus)
    if corpus_sha256(documents) != quality.corpus_sha256:
        raise ModelError(
            f"corpus {corpus_name(quality.corpus)!r} changed since the run was planned; run it again"
        )
    rule = Rule(quality.seqlen, quality.stride or quality.seqlen, quality.max_windows)
    return cut(quality.protocol, bench.tokenizer, documents, rule)


def measure(bench: Bench) -> JsonObject:
    """Samples of the cell's corpus under its protocol; see the module's docstring."""
    quality = QualitySettings.required(bench.cell)
    text = windows_of(bench)
    base = None
    if quality.divergence:
        base = BaseOutputs.read(key(bench.cell, bench.base_weights), bench.model, text.windows, bench.device)
    start_s = time.perf_counter()
    scores = score(bench.model, text.windows, bench.device, base)
    elapsed_s = time.perf_counter() - start_s
    divergence = _divergence(bench, text, scores) if quality.divergence else None
    return {
        "unit": "nat",
        "protocol": quality.protocol,
        "corpus": {"name": corpus_name(quality.corpus), "sha256": quality.corpus_sha256},
        "seqlen": quality.seqlen,
        "stride": quality.stride,
        "windows": len(text.windows),
        "tokens": [window.counted for window in text.windows],
        "nll": [_counted(*pair) for pair in zip(scores.nll, text.windows, strict=True)],
        "words": text.words,
        "bytes": text.bytes,
        "head": scores.head,
        "divergence": divergence,
        "elapsed_s": elapsed_s,
        "reasons": _reasons(quality, text, divergence),
    }


def _counted(nll: float, window: Window) -> float | None:
    """The window's mean times the tokens that it counts for; JSON has no NaN."""
    value = nll * window.counted / window.scored
    return value if math.isfinite(value) else None


def _divergence(bench: Bench, text: Cut, scores: Scores) -> JsonObject:
    if scores.divergence is None:
        return {"value": None, "reason": SAVED_WITHOUT_BASE if bench.cell.method == "saved" else NO_BASE}
    return {"scored": [window.scored for window in text.windows], **scores.divergence}


NO_BASE = "the unquantized model's outputs could not be made or read"
SAVED_WITHOUT_BASE = (
    "no outputs of the unquantized model: no cell of the weights that the checkpoint was made from was "
    "planned beside it with this dtype and device, or they could not be made"
)


def _reasons(quality: QualitySettings, text: Cut, divergence: JsonObject | None) -> dict[str, str]:
    """Metric that cannot be had → why; see `qbench.probes.quality.metrics` for their names."""
    reasons: dict[str, str] = {}
    if text.words is None:
        cause = "only protocol lm-eval scores every token of a text"
        if quality.protocol == "lm-eval":
            cause = "max_windows cuts the text short"
        reasons |= dict.fromkeys(("word_perplexity", "byte_perplexity", "bits_per_byte"), cause)
    if divergence is None or "reason" in divergence:
        cause = "quality.divergence is false" if divergence is None else divergence["reason"]
        reasons |= dict.fromkeys(DIVERGENCE, cause)
    return reasons


DIVERGENCE = (
    "kl_divergence", "kl_median", "kl_p90", "kl_p95", "kl_p99", "kl_p999", "kl_max", "top1_agreement",
    "rms_delta_p",
)  # fmt: skip
"""Metrics that need the base's outputs."""

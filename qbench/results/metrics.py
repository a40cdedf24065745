"""`METRICS`: the one table of what can be read from a record: name, unit, direction, kind, function, digits.

A metric's function takes one record and returns a number, or None where the record has none. What needs a
second record (a ratio to the base) or all of them (the bootstrap) is a column of `frame.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qbench.results import samples
from qbench.results.record import Record
from qbench.results.samples import decode_steps, decode_times, memory, phase, prefill_times, summary

Kind = Literal["deterministic", "timed", "fact"]
Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """One number per record."""

    name: str
    unit: str
    """`B`, `s`, `J`, `bit`, `nat`, `tokens/s`; empty for a count or a ratio."""
    direction: Direction | None
    """Which way is better; None for a fact."""
    kind: Kind
    """`deterministic` (same cell, same number), `timed` (it varies), `fact` (says how it was measured)."""
    source: str
    """The probe it is read from, or `phases`, `layers`."""
    digits: int
    """Significant digits where no interval says how many are meant."""
    description: str
    value: Callable[[Record], float | None]

    @property
    def dtype(self) -> str:
        """pandas dtype: whole bytes and counts are nullable integers."""
        return "Int64" if self.unit == "B" or self.kind == "fact" else "float64"

    def reason(self, record: Record) -> str:
        """Why the value is missing from this record."""
        return samples.missing_reason(record, self.source, self.name)


def _bytes(
    name: str, description: str, direction: Direction | None = "lower", kind: Kind = "deterministic"
) -> Metric:
    return Metric(name, "B", direction, kind, "memory", 3, description, memory(name))


def _seconds(name: str, source: str, description: str, value: Callable[[Record], float | None]) -> Metric:
    return Metric(name, "s", "lower", "timed", source, 3, description, value)


def _fact(name: str, source: str, description: str, value: Callable[[Record], float | None]) -> Metric:
    return Metric(name, "", None, "fact", source, 6, description, value)


_LATENCY = "median over repetitions, first prompt length and batch size"

_ALL = (
    Metric(
        "bits_per_weight", "bit", "lower", "deterministic", "layers", 4,
        "true bits per weight of the quantized layers, scales and zeros included; for `none`, of the dtype",
        samples.bits_per_weight,
    ),
    Metric(
        "perplexity", "", "lower", "deterministic", "perplexity", 4,
        "exp of the mean negative log likelihood per token; compare within one perplexity_protocol only",
        samples.perplexity,
    ),
    Metric(
        "nll_per_token", "nat", "lower", "deterministic", "perplexity", 5,
        "mean negative log likelihood per scored token", samples.nll_per_token,
    ),
    _bytes("weight_bytes", "resident bytes of all weights: codes, metadata and the unquantized rest"),
    _bytes("quantized_bytes", "of these, the codes of quantized layers"),
    _bytes("metadata_bytes", "of these, scales, zeros and codebooks"),
    _bytes("rest_bytes", "of these, embeddings and all that was not quantized"),
    _bytes("disk_bytes", "bytes of the weights on disk"),
    _bytes("peak_memory_bytes", "peak while running, above the worker without the model", kind="timed"),
    _bytes("process_peak_bytes", "peak of the whole worker process while running", kind="timed"),
    _bytes("quantize_peak_bytes", "peak while quantizing, above the same", kind="timed"),
    _bytes("kv_cache_bytes", "key and value cache at the end of the run that measured it"),
    _seconds("load_s", "phases", "loading the model", phase("load")),
    _seconds("quantize_s", "phases", "quantizing the model, calibration included", phase("quantize")),
    _seconds("prefill_s", "latency", f"TTFT; {_LATENCY}", summary(prefill_times, "median")),
    _seconds("prefill_s_min", "latency", "fastest repetition of prefill_s", summary(prefill_times, "min")),
    _seconds("prefill_s_max", "latency", "slowest repetition of prefill_s", summary(prefill_times, "max")),
    Metric(
        "prefill_tokens_per_s", "tokens/s", "higher", "timed", "latency", 3,
        "prompt tokens of the whole batch over prefill_s", samples.per_second("prompt_length", prefill_times),
    ),
    _seconds(
        "decode_s_per_token", "latency", f"(end to end − first token) / (N − 1); null for N < 2; {_LATENCY}",
        summary(decode_times, "median"),
    ),
    _seconds("decode_s_per_token_min", "latency", "fastest repetition", summary(decode_times, "min")),
    _seconds("decode_s_per_token_max", "latency", "slowest repetition", summary(decode_times, "max")),
    _seconds("decode_step_p99_s", "latency", "99th percentile of single steps", summary(decode_steps, "p99")),
    Metric(
        "decode_tokens_per_s", "tokens/s", "higher", "timed", "latency", 3,
        "tokens of the whole batch per second of decoding", samples.per_second(None, decode_times),
    ),
    Metric(
        "energy_j_per_token", "J", "lower", "timed", "energy", 3,
        "gross energy per generated token; null with the reason in energy_reason",
        samples.joules_per_token("decode", net=False),
    ),
    Metric(
        "energy_j_per_prompt_token", "J", "lower", "timed", "energy", 3,
        "gross energy per prompt token", samples.joules_per_token("prefill", net=False),
    ),
    Metric(
        "energy_net_j_per_token", "J", "lower", "timed", "energy", 3,
        "energy per generated token less what the idle device draws in the same time",
        samples.joules_per_token("decode", net=True),
    ),
    Metric(
        "weight_error", "", "lower", "deterministic", "layers", 3,
        "relative error ‖w − ŵ‖ / ‖w‖ of the weights, median over the quantized layers", samples.weight_error,
    ),
    _fact("layers_quantized", "layers", "how many layers were quantized", samples.layer_count),
    _fact("layers_fallback", "layers", "how many ran on another kernel than asked", samples.fallback_layers),
    _fact("perplexity_tokens", "perplexity", "scored tokens", samples.token_count),
    _fact("prompt_length", "latency", "prompt tokens timed", samples.latency_fact("prompt_length")),
    _fact("batch_size", "latency", "sequences timed at once", samples.latency_fact("batch_size")),
    _fact(
        "generated_tokens", "latency", "generated tokens timed",
        samples.latency_fact("generated_tokens"),
    ),
    _fact(
        "latency_repetitions", "latency", "how often it was timed",
        lambda record: float(len(prefill_times(record))) or None,
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}

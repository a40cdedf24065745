"""The section `gate` of a suite: from which change on a number counts as worse, and how sure the gate must
be.

Nothing of it enters a cell's id: it says what is made of numbers, not how they come to be. A threshold that
stands here replaces the default of the metric table (`qbench.results.table.metrics`); a test holds the two
lists of names together, since the suite may not import the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from qbench.fields import Rule, Spec

MOST = 1000.0
OFF = math.inf
"""What `false` is read as: no change is worse than that."""


def _at_least(least: float) -> Callable[[object], object]:
    """Reads a threshold; raises ValueError for what is none."""

    def read(value: object) -> object:
        if value is False:
            return OFF
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= MOST:
            raise ValueError(f"should be a number from {least:g} to {MOST:g}, or false not to gate it")
        return float(value)

    return read


_FACTOR = Annotated[float, Field(ge=1, le=MOST)] | Literal[False]
Factor = Annotated[float | None, BeforeValidator(_at_least(1), json_schema_input_type=_FACTOR)]
"""How many times worse: 1.03 is three percent. 1: any change."""
_GAP = Annotated[float, Field(ge=0, le=MOST)] | Literal[False]
Gap = Annotated[float | None, BeforeValidator(_at_least(0), json_schema_input_type=_GAP)]
"""How much worse, in the metric's unit. 0: any change."""


def _factor(what: str) -> Factor:
    found: Factor = Field(None, description=f"{what}: worse from this factor on, such as 1.03; false: off")
    return found


def _gap(what: str) -> Gap:
    found: Gap = Field(None, description=f"{what}: worse from this difference on; false: off")
    return found


class ThresholdsSpec(Spec):
    """From which change on a metric counts as worse. Left out: the default of the metric table."""

    perplexity: Factor = _factor("Perplexity")
    perplexity_ratio: Factor = _factor("Perplexity over that of the unquantized model")
    nll_per_token: Gap = _gap("Negative log likelihood per token, nat")
    word_perplexity: Factor = _factor("Perplexity per word")
    byte_perplexity: Factor = _factor("Perplexity per byte")
    bits_per_byte: Factor = _factor("Bits per byte")
    kl_divergence: Gap = _gap("KL divergence from the unquantized model, nat")
    kl_p99: Gap = _gap("99th percentile of the KL divergence, nat")
    kl_max: Gap = _gap("Largest KL divergence, nat")
    top1_agreement: Gap = _gap("Share of tokens on which both put the same one first")
    rms_delta_p: Gap = _gap("Root mean square change in probability")
    task_accuracy: Gap = _gap("Mean accuracy over the tasks")
    bits_per_weight: Factor = _factor("True bits per weight")
    weight_error: Factor = _factor("Relative error of the weights")
    weight_bytes: Factor = _factor("Resident bytes of all weights")
    quantized_bytes: Factor = _factor("Bytes of the codes")
    metadata_bytes: Factor = _factor("Bytes of scales, zeros and the like")
    disk_bytes: Factor = _factor("Bytes of the weights on disk")
    saved_bytes: Factor = _factor("Bytes of the saved model")
    activation_bytes: Factor = _factor("Bytes of activations")
    kv_cache_bytes: Factor = _factor("Bytes of the key and value cache")
    kv_cache_bytes_per_token: Factor = _factor("The same per token")
    prefill_s: Factor = _factor("Time to first token")
    decode_s_per_token: Factor = _factor("Time per token after the first")
    prefill_tokens_per_s: Factor = _factor("Prompt tokens per second")
    decode_tokens_per_s: Factor = _factor("Generated tokens per second")
    decode_step_p50_s: Factor = _factor("Median decode step")
    decode_step_p90_s: Factor = _factor("90th percentile of decode steps")
    decode_step_p99_s: Factor = _factor("99th percentile of decode steps")
    load_s: Factor = _factor("Seconds to load")
    quantize_s: Factor = _factor("Seconds to quantize")
    compile_s: Factor = _factor("Seconds to compile")
    energy_j_per_token: Factor = _factor("Joules per generated token")
    energy_j_per_prompt_token: Factor = _factor("Joules per prompt token")
    peak_memory_bytes: Factor = _factor("Peak memory while running")
    quantize_peak_bytes: Factor = _factor("Peak memory while quantizing")

    def thresholds(self) -> dict[str, float]:
        """Metric → threshold, infinite for one that is not gated; only what the suite says."""
        said = {name: getattr(self, name) for name in ThresholdsSpec.model_fields}
        return {name: value for name, value in said.items() if value is not None}


class GateOverrideSpec(ThresholdsSpec):
    """Other thresholds for some cells."""

    match: Rule = Field(description="Which cells, as under include: {method: gptq}; the last match wins")


class GateSpec(ThresholdsSpec):
    """When a new version counts as worse than an old one (`qbench gate`)."""

    alpha: float = Field(
        0.05, gt=0, le=0.5, description="Most probability of any false alarm among all cells × metrics"
    )
    correction: Literal["holm", "bh"] = Field(
        "holm",
        description="holm: alpha bounds the probability of any false alarm; bh: the share of false ones "
        "among the alarms (Benjamini-Hochberg)",
    )
    budget_s: float = Field(
        3600.0, gt=0, le=604_800, description="Most seconds of interleaved timing in one gate"
    )
    kernels: bool = Field(True, description="A layer that runs another kernel than before is worse")
    codes: bool = Field(True, description="A layer with other codes than before is worse")
    overrides: list[GateOverrideSpec] = Field(
        [], max_length=1000, description="Other thresholds for some cells; the last match wins"
    )

"""Decode and prefill of a whole model, quantized beside bf16, interleaved in one process.

SmolLM2-135M where it has been fetched (`qbench fetch smollm2-135m`), else the embedded model, which has no
target: its layers are so small that Python decides. Each round gives every variant one prefill of 512 tokens
and some decode steps, in an order drawn anew; a ratio is that of medians.

Targets (SmolLM2-135M, bf16, 2 cores): decode of 4-bit and 8-bit weights at most 0.6 of bf16's time, prefill
at most 1.15 of it; int8 × int8 methods' prefill below bf16's. `without the layers` is the floor that no
quantization of them can pass: attention, norms, the head, and Python.
"""

from __future__ import annotations

import copy
import random
import statistics
import time
from typing import Any

import pytest
import torch

from qbench.models.builtin import is_here
from qbench.models.corpora import read_corpus
from qbench.models.load import load_model
from qbench.models.source import pin
from qbench.models.windows import draw_windows
from qbench.quant.method import registry
from qbench.quant.model.convert import quantize_model, quantized_layers

PROMPT, STEPS, ROUNDS = 512, 16, 7
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "int4 g32": ("int4", {"group_size": 32}),
    "int4 g64": ("int4", {"group_size": 64}),
    "int4 asymmetric g64": ("int4", {"group_size": 64, "symmetric": False}),
    "hqq 4 g64": ("hqq", {"num_bits": 4}),
    "absmax 8": ("absmax", {"num_bits": 8}),
    "zeropoint 8 g64": ("zeropoint", {"num_bits": 8, "strategy": "group"}),
    "fp8": ("fp8", {}),
    "absmax 8 dynamic": ("absmax", {"num_bits": 8, "activations": "dynamic"}),
    "absmax 8 static": ("absmax", {"num_bits": 8, "activations": "static"}),
    "llm_int8": ("llm_int8", {}),
}
INT8 = ("absmax 8 dynamic", "absmax 8 static", "llm_int8")
"""int8 × int8: their prefill has to be below bf16's; decode is shown without a target."""


class Absent(torch.nn.Module):
    """Stands where a layer was and multiplies nothing: what is left is the model around the layers."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(*x.shape[:-1], self.features)


Times = dict[str, dict[str, list[float]]]


def models(source: str) -> dict[str, Any]:
    """The unquantized model and every variant of it."""
    loaded = load_model(pin(source, None), "bf16", "cpu")
    windows = draw_windows(loaded.tokenizer, read_corpus("builtin:calibration"), 16, 256, seed=0)
    found = {"bf16": loaded.model}
    for label, (name, params) in VARIANTS.items():
        model = copy.deepcopy(loaded.model)
        quantize_model(model, registry.make(name, params), {}, calibration=windows)
        found[label] = model
    bare = copy.deepcopy(loaded.model)
    for name, _ in quantized_layers(found["absmax 8"]):
        parent, _, child = name.rpartition(".")
        setattr(bare.get_submodule(parent), child, Absent(bare.get_submodule(name).out_features))
    found["without the layers"] = bare
    return found


def one_round(model: Any, ids: torch.Tensor, steps: int) -> tuple[float, float]:
    """Seconds of a prefill and of a decode step after it."""
    start = time.perf_counter()
    out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    prefill = time.perf_counter() - start
    cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
    start = time.perf_counter()
    for _ in range(steps):
        out = model(input_ids=token, past_key_values=cache, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    return prefill, (time.perf_counter() - start) / steps


def measure(found: dict[str, Any], rounds: int, steps: int, prompt: int) -> Times:
    ids = torch.arange(prompt)[None] * 7 % 1000
    times: Times = {label: {"prefill": [], "decode": []} for label in found}
    order = random.Random(0)
    with torch.inference_mode():
        for number in range(rounds + 1):
            for label in order.sample(sorted(found), len(found)):
                prefill, decode = one_round(found[label], ids, steps)
                if number:  # the first round warms up
                    times[label]["prefill"].append(prefill)
                    times[label]["decode"].append(decode)
    return times


@pytest.mark.timeout(900)
def test_decode_and_prefill_beside_bf16(benchmark: Any) -> None:
    timed = not benchmark.disabled
    smollm2 = timed and is_here("smollm2-135m")
    found = models("builtin:smollm2-135m" if smollm2 else "builtin:austen-6m")
    rounds, steps, prompt = (ROUNDS, STEPS, PROMPT) if timed else (1, 2, 32)
    times = benchmark.pedantic(measure, args=(found, rounds, steps, prompt), rounds=1, iterations=1)
    medians = {
        label: {what: statistics.median(taken) for what, taken in sorts.items()}
        for label, sorts in times.items()
    }
    benchmark.extra_info["median_s"] = medians
    missed = []
    print(f"\n{'':22}decode ms   × bf16   prefill {prompt} ms   × bf16")
    for label, taken in medians.items():
        decode, prefill = (taken[what] / medians["bf16"][what] for what in ("decode", "prefill"))
        print(
            f"{label:22}{taken['decode'] * 1e3:9.2f}{decode:9.2f}{taken['prefill'] * 1e3:17.1f}{prefill:9.2f}"
        )
        if label in INT8 and prefill >= 1:
            missed.append(f"{label}: prefill {prefill:.2f} of bf16's")
        if label not in (*INT8, "bf16", "without the layers") and (decode > 0.6 or prefill > 1.15):
            missed.append(f"{label}: decode {decode:.2f}, prefill {prefill:.2f}")
    if smollm2:
        assert missed == []

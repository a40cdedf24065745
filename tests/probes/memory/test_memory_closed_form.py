"""Weights and KV cache of eight architectures against counts written out by hand, plain and quantized."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
    StaticCache,
)

from qbench.probes.memory.measure import footprint as memory
from qbench.probes.memory.measure.allocations import track
from qbench.probes.memory.measure.footprint import cache_bytes, weight_parts
from qbench.quant.method import registry
from qbench.quant.model.checkpoint import WEIGHTS, save_quantized
from qbench.quant.model.convert import quantize_model, quantized_layers
from qbench.quant.model.sizes import saved_bytes
from tests.probes.conftest import bench_of

V, H, F, D, LAYERS, HEADS, KV, WINDOW = 512, 128, 192, 64, 2, 4, 2, 16
"""Vocabulary, width, MLP, head, layers, query heads, key-value heads, sliding window; D ≠ H / HEADS."""
TRIO: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
GQA: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": H,
    "intermediate_size": F,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "head_dim": D,
    "max_position_embeddings": 128,
    **TRIO,
}
NEOX_HEAD = OPT_HEAD = GPT2_HEAD = H // HEADS


@dataclass(frozen=True)
class Architecture:
    """A config, and by hand: what is linear in a block, what else is in it, what stands around, the cache."""

    config: Any
    linear: tuple[tuple[int, int], ...]
    """(outputs, inputs)."""
    block_rest: int
    """Elements of norms and biases in a block."""
    ends_rest: int
    """Elements outside the blocks, embeddings apart."""
    embeddings: int
    """Elements, position tables included, the head not."""
    cached: int
    """Elements of keys and values for one token in one layer."""
    window: int | None = None


def gqa_layers(width: int) -> tuple[tuple[int, int], ...]:
    """Query, key, value, output; gate, up, down."""
    return ((width, H), (KV * D, H), (KV * D, H), (H, width), (F, H), (F, H), (H, F))


def architectures(tied: bool) -> dict[str, Architecture]:
    tie = {"tie_word_embeddings": tied}
    four = ((3 * H, H), (H, H), (4 * H, H), (H, 4 * H))
    opt = ((H, H),) * 4 + ((F, H), (H, F))
    gpt2 = {"vocab_size": V, "n_embd": H, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 128, **TRIO}
    neox = {**GQA, "intermediate_size": 4 * H, "rotary_pct": 0.25}
    qwen = {
        **GQA,
        "num_attention_heads": HEADS // 2,
    }  # Qwen2's heads share the width: no head_dim of their own
    small = {key: value for key, value in GQA.items() if key not in ("num_key_value_heads", "head_dim")}
    positions = {**small, "ffn_dim": F, "word_embed_proj_dim": H}
    sandwich = 4 * H  # a norm on either side of attention and MLP
    return {
        "llama": Architecture(
            LlamaConfig(**GQA, **tie), gqa_layers(HEADS * D), 2 * H, H, V * H, 2 * KV * D
        ),
        "mistral": Architecture(
            MistralConfig(**GQA, **tie, sliding_window=WINDOW),
            gqa_layers(HEADS * D), 2 * H, H, V * H, 2 * KV * D, WINDOW,
        ),
        "qwen2": Architecture(
            Qwen2Config(**qwen, **tie), gqa_layers(H), 2 * H + H + 2 * KV * D, H, V * H, 2 * KV * D
        ),
        "gemma2": Architecture(
            Gemma2Config(**GQA, **tie, layer_types=["full_attention"] * LAYERS),
            gqa_layers(HEADS * D), sandwich, H, V * H, 2 * KV * D,
        ),
        "gemma3": Architecture(
            Gemma3TextConfig(**GQA, **tie, layer_types=["full_attention"] * LAYERS),
            gqa_layers(HEADS * D), sandwich + 2 * D, H, V * H, 2 * KV * D,
        ),
        "gpt2": Architecture(
            GPT2Config(**gpt2, **tie), four, 4 * H + 3 * H + H + 4 * H + H, 2 * H, V * H + 128 * H, 2 * H
        ),
        "gpt_neox": Architecture(
            GPTNeoXConfig(**neox, **tie), four, 4 * H + 3 * H + H + 4 * H + H, 2 * H, V * H, 2 * H
        ),
        "opt": Architecture(
            OPTConfig(**positions, **tie), opt, 4 * H + 5 * H + F, 2 * H, V * H + (128 + 2) * H, 2 * H
        ),
    }  # fmt: skip


NAMES = tuple(architectures(tied=True))


def build(known: Architecture) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(known.config, dtype=torch.bfloat16)
    return model.eval().requires_grad_(False)


def linear_elements(known: Architecture) -> int:
    return LAYERS * sum(rows * columns for rows, columns in known.linear)


def plain_elements(known: Architecture, tied: bool) -> int:
    """Everything but the linear layers of the blocks."""
    head = 0 if tied else V * H
    return LAYERS * known.block_rest + known.ends_rest + known.embeddings + head


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_weights_equal_the_closed_form(name: str, tied: bool) -> None:
    known = architectures(tied)[name]
    parts = weight_parts(build(known))
    assert parts["weight_bytes"] == pytest.approx(
        2 * (linear_elements(known) + plain_elements(known, tied)), rel=0.01
    )
    assert parts["embedding_bytes"] == pytest.approx(2 * (known.embeddings + (not tied) * V * H), rel=0.001)
    assert parts["quantized_bytes"] == parts["metadata_bytes"] == 0


def per_row(bits: int, scale_bits: int = 16) -> Callable[[int, int], tuple[float, float]]:
    """(bytes of codes, of metadata) of a layer (N, K) with a scale for each row."""
    return lambda rows, columns: (rows * ceil(columns * bits / 8), rows * scale_bits / 8)


def grouped(bits: int, group: int, zero_bits: float) -> Callable[[int, int], tuple[float, float]]:
    """The same with a 16-bit scale and a zero for each group along K."""
    return lambda rows, columns: (
        rows * ceil(columns * bits / 8), rows * ceil(columns / group) * (16 + zero_bits) / 8,
    )  # fmt: skip


METHODS: dict[str, tuple[str, dict[str, Any], Callable[[int, int], tuple[float, float]]]] = {
    "absmax8": ("absmax", {"num_bits": 8, "strategy": "channel"}, per_row(8)),
    "absmax4": ("absmax", {"num_bits": 4, "strategy": "channel"}, per_row(4)),
    "zeropoint4": ("zeropoint", {"num_bits": 4, "strategy": "group", "group_size": 64}, grouped(4, 64, 4)),
    "zeropoint3": ("zeropoint", {"num_bits": 3, "strategy": "group", "group_size": 32}, grouped(3, 32, 3)),
    "hqq2": ("hqq", {"num_bits": 2, "group_size": 64}, grouped(2, 64, 16)),
}


def quantized(model: Any, method: str, params: dict[str, Any]) -> Any:
    changed = copy.deepcopy(model)
    head = next(name for name, module in model.named_modules() if module is model.get_output_embeddings())
    layers = {"include": ["*"], "exclude": [head], "overrides": []}
    quantize_model(changed, registry.make(method, params), layers)
    return changed


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_quantized_weights_equal_shapes_times_true_bits(name: str, method: str) -> None:
    known = architectures(tied=False)[name]
    family, params, form = METHODS[method]
    model = quantized(build(known), family, params)
    sizes = [form(rows, columns) for rows, columns in known.linear]
    codes, metadata = (LAYERS * sum(size[part] for size in sizes) for part in (0, 1))
    parts = weight_parts(model)
    assert parts["quantized_bytes"] == pytest.approx(codes, rel=0.01)
    assert parts["metadata_bytes"] == pytest.approx(metadata, rel=0.01)
    assert parts["rest_bytes"] == pytest.approx(2 * plain_elements(known, tied=False), rel=0.01)
    total = codes + metadata + 2 * plain_elements(known, tied=False)
    assert parts["weight_bytes"] == pytest.approx(total, rel=0.01)
    assert saved_bytes(model) == pytest.approx(total, rel=0.01)


def test_what_is_said_of_a_file_is_what_a_file_holds(tmp_path: Path) -> None:
    known = architectures(tied=True)["llama"]
    model = quantized(build(known), "zeropoint", {"num_bits": 4, "strategy": "group", "group_size": 64})
    with torch.no_grad():
        model(torch.zeros(1, 3, dtype=torch.long))
    said = saved_bytes(model)
    save_quantized(model, tmp_path / "made", origin={})
    data = (tmp_path / "made" / WEIGHTS).read_bytes()
    assert said == pytest.approx(len(data) - 8 - int.from_bytes(data[:8], "little"), rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_layouts_that_kernels_make_while_running_are_counted_as_codes(method: str) -> None:
    family, params, _ = METHODS[method]
    model = quantized(build(architectures(tied=True)["llama"]), family, params)
    before = weight_parts(model)
    with torch.no_grad():
        for rows in (1, 40):
            model(torch.zeros(1, rows, dtype=torch.long))
    after = weight_parts(model)
    layers = [layer.resident_bytes() for _, layer in quantized_layers(model)]
    held = sum(layer["codes"] + layer["prepared"] for layer in layers)
    assert after["quantized_bytes"] == pytest.approx(held, rel=0.02)
    assert {key: after[key] - before[key] for key in ("metadata_bytes", "rest_bytes")} == {
        "metadata_bytes": 0,
        "rest_bytes": 0,
    }


@pytest.mark.parametrize(("prompt", "generated", "batch"), [(20, 9, 1), (5, 4, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_the_kv_cache_equals_the_closed_form(name: str, prompt: int, generated: int, batch: int) -> None:
    known = architectures(tied=True)[name]
    latency = {
        "prompt_lengths": [prompt],
        "batch_sizes": [batch],
        "generated_tokens": generated,
        "repetitions": 1,
    }
    sample = memory.measure(bench_of(build(known), latency=latency))
    tokens = prompt + generated - 1
    if (
        known.window is not None and tokens > known.window
    ):  # the newest window, of which it forgets the oldest
        tokens = known.window
    assert sample["kv_cache_bytes"] == pytest.approx(2 * batch * LAYERS * tokens * known.cached, rel=0.01)
    assert sample["kv_cache"] == "DynamicCache"


def test_a_static_cache_takes_its_whole_length_at_once() -> None:
    known = architectures(tied=True)["llama"]
    model = build(known)
    cache = StaticCache(config=model.config, max_cache_len=48)
    with torch.no_grad():
        model(torch.zeros(2, 5, dtype=torch.long), past_key_values=cache, use_cache=True)
    assert cache_bytes(cache) == pytest.approx(2 * 2 * LAYERS * 48 * known.cached, rel=0.01)


def test_metadata_holds_input_scales_and_outliers() -> None:
    model = build(architectures(tied=True)["llama"])
    windows = torch.randint(V, (4, 32), generator=torch.Generator().manual_seed(0))
    layers = {"include": ["*"], "exclude": [], "overrides": []}
    static = copy.deepcopy(model)
    method = registry.make("absmax", {"num_bits": 8, "strategy": "channel", "activations": "static"})
    quantize_model(static, method, layers, calibration=windows)
    parts = weight_parts(static)
    assert parts["input_scale_bytes"] == 4 * 7 * LAYERS
    rows = LAYERS * sum(rows for rows, _ in architectures(tied=True)["llama"].linear)
    assert parts["metadata_bytes"] == parts["scales_bytes"] + 4 * 7 * LAYERS
    assert parts["scales_bytes"] == 2 * rows
    apart = copy.deepcopy(model)
    quantize_model(apart, registry.make("llm_int8", {"threshold": 1.5}), layers, calibration=windows)
    kept = [layer for _, layer in quantized_layers(apart)]
    wanted = sum(layer.spec.outliers * (4 + 2 * layer.spec.out_features) for layer in kept)
    assert wanted > 0
    found = weight_parts(apart)
    assert found["outliers_bytes"] == wanted
    assert found["metadata_bytes"] == found["scales_bytes"] + wanted


def test_activations_are_what_torch_allocates_to_the_byte() -> None:
    kept: list[torch.Tensor] = []

    def run() -> None:
        first = torch.empty(1 << 20, dtype=torch.uint8)
        second = torch.empty(1 << 16, dtype=torch.uint8)
        del first
        kept.append(torch.empty(1000, dtype=torch.uint8))
        del second

    found = track(run, torch.device("cpu"))
    assert found is not None
    assert (found.peak, found.kept) == ((1 << 20) + (1 << 16), 1000)
    assert track(lambda: None, torch.device("cpu")) is None


def test_activations_repeat_bit_for_bit_and_grow_with_the_prompt() -> None:
    model = build(architectures(tied=True)["llama"])

    def measured(prompt: int) -> dict[str, Any]:
        latency = {"prompt_lengths": [prompt], "batch_sizes": [1], "generated_tokens": 3, "repetitions": 1}
        return memory.measure(bench_of(model, latency=latency))

    one, again, longer = measured(16), measured(16), measured(64)
    names = ("activation_bytes", "prefill_activation_bytes", "step_activation_bytes", "weight_bytes")
    assert [one[name] for name in names] == [again[name] for name in names]
    assert one["activation_bytes"] == max(one[name] for name in names[1:3]) > 0
    assert longer["prefill_activation_bytes"] > one["prefill_activation_bytes"]
    # The widest moment of the MLP: gate, its activation and up, (1, prompt, F) each, in bf16.
    assert longer["prefill_activation_bytes"] >= 3 * 64 * F * 2

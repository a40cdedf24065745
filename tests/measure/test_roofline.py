"""Bytes and operations against sums that were made by hand, and against torch's own counter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qbench.measure import roofline as limits
from qbench.measure.generation import Generation, prompts
from qbench.quant.method import registry
from qbench.quant.model.convert import quantize_model
from tests.probes.conftest import tiny_llama

CPU = torch.device("cpu")
# tiny_llama: vocabulary 97, width 64, MLP 96, 2 layers, 4 heads of 16, 2 of them for keys and values.
LAYER = 64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 96
NORMS = 5 * 64


def run(model: Any, batch: int = 1, length: int = 8, tokens: int = 5) -> Generation:
    generation = Generation(model, prompts(model, batch, length, 0, CPU))
    with torch.inference_mode():
        generation.prefill()
        for _ in range(tokens - 1):
            generation.step()
    return generation


@pytest.mark.parametrize(("batch", "tied"), [(1, False), (3, False), (1, True)])
def test_a_step_reads_every_weight_but_the_rows_of_the_table_that_it_does_not_look_up(
    batch: int, tied: bool
) -> None:
    found = limits.decode_weight_bytes(tiny_llama(tie_word_embeddings=tied), batch)
    looked_up = 0 if tied else batch * 64
    assert found == 4 * (2 * LAYER + 97 * 64 + NORMS + looked_up)


def test_quantized_layers_count_as_they_are_stored() -> None:
    """4 bits a code and a float32 or bf16 scale for each 32: 4.5 or 5 bits a weight, read off the layers."""
    model = tiny_llama(tie_word_embeddings=True).to(torch.bfloat16)
    quantize_model(model, registry.make("int4", {"group_size": 32}), {})
    bits = model.model.layers[0].mlp.up_proj.bits_per_weight
    assert bits in (4.5, 5.0)
    found = limits.decode_weight_bytes(model, 1)
    assert found == 2 * LAYER * bits / 8 + 2 * (97 * 64 + NORMS)


def test_keys_and_values_are_read_up_to_the_new_token() -> None:
    """Steps see 9 to 12 positions of 2 layers × 2 (k, v) × 2 heads × 16 in float32, twice (batch)."""
    generation = run(tiny_llama(), batch=2, length=8, tokens=5)
    per_position = 2 * 2 * 2 * 16 * 4 * 2
    assert limits.kv_bytes(generation.cache, 8, 5) == pytest.approx(per_position * 10.5)
    assert limits.kv_bytes(generation.cache, 8, 1) is None


def test_operations_agree_with_torchs_counter_but_for_the_future() -> None:
    """torch counts whole attention matrices, so those are counted by hand: T·(T+1)/2 of T² pairs are due."""
    model = tiny_llama()
    batch, length = 2, 8
    generation = run(model, batch, length)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(generation.prompt, use_cache=True, logits_to_keep=1)
    linear = sum(
        count
        for name, count in counter.get_flop_counts()["Global"].items()
        if "mm" in str(name) and "bmm" not in str(name)
    )
    assert limits.linear_flop(model, batch, length, last_only=True) == linear
    pairs = length * (length + 1) // 2
    assert limits.attention_flop(generation.cache, model, batch, length) == 2 * 4 * 2 * 16 * 2 * pairs * batch


def test_a_sliding_window_has_fewer_pairs_and_reads_fewer_positions() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    config = MistralConfig(**shape, num_attention_heads=2, num_key_value_heads=1, sliding_window=4)
    generation = run(MistralForCausalLM(config).eval(), length=10, tokens=3)
    seen = sum(min(position + 1, 4) for position in range(10))
    assert limits.attention_flop(generation.cache, generation.model, 1, 10) == 2 * (16 + 16) * 2 * seen
    assert limits.kv_bytes(generation.cache, 10, 3) == 4 * 2 * 16 * 4  # 4 positions, k and v, float32


def test_int8_products_are_held_against_the_int8_rate() -> None:
    model = tiny_llama().to(torch.bfloat16)
    assert limits.arithmetic(model, "bf16") == "bf16"
    quantize_model(model, registry.make("absmax", {"activations": "dynamic"}), {})
    assert limits.arithmetic(model, "bf16") == "int8"


def test_a_mixture_of_experts_has_no_answer_but_a_reason() -> None:
    generation = run(tiny_llama())
    generation.model.config.num_local_experts = 8
    found = limits.work(generation, 5, "fp32")
    assert found["decode_weight_bytes"] is None
    assert "num_local_experts" in found["reason"]

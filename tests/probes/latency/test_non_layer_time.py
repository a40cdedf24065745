"""Time outside the layers: right against a model whose parts take a known time; nothing stays behind."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn

from qbench.measure.compiled import CompiledGeneration
from qbench.measure.generation import Generation, prompts
from qbench.probes.latency.measure import non_layer_time as outside
from qbench.probes.latency.measure import timing as latency
from qbench.quant.method import registry
from qbench.quant.model.convert import quantize_model, quantized_layers
from tests.probes.conftest import tiny_llama

CPU = torch.device("cpu")


class Sleeper(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Any = None) -> Any:
        time.sleep(self.seconds)
        return x


class Scripted:
    """A prefill of 40 ms, 30 of them in two layers; steps of 20 ms, 5 of them in one."""

    def __init__(self) -> None:
        self.long, self.short = Sleeper(0.015), Sleeper(0.005)

    def prefill(self) -> None:
        self.long()
        self.long()
        time.sleep(0.010)

    def step(self) -> None:
        self.short()
        time.sleep(0.015)


def test_the_clock_tells_inside_from_outside() -> None:
    scripted, clock = Scripted(), outside.LayerClock(CPU)
    with outside.timers([scripted.long, scripted.short], clock):
        whole = latency.timed_round(outside._Watched(scripted, clock), 4, CPU)  # type: ignore[arg-type]
    inside = clock.seconds()
    assert len(whole) == len(inside) == 4
    assert inside[0] == pytest.approx(0.030, abs=0.02)
    assert inside[1:] == pytest.approx([0.005] * 3, abs=0.01)
    for within, all_of_it in zip(inside, whole, strict=True):
        assert within + 0.009 < all_of_it


def test_layers_are_as_they_were_afterwards_even_after_an_error() -> None:
    layer = nn.Linear(2, 2)

    def fail() -> None:
        with outside.timers([layer], outside.LayerClock(CPU)):
            assert "forward" in vars(layer)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert "forward" not in vars(layer)


def test_an_unquantized_model_names_the_layers_that_quantization_takes() -> None:
    model = tiny_llama(tie_word_embeddings=True)
    before = len(outside.target_layers(model))
    quantize_model(model, registry.make("int4", {"group_size": 32}), {})
    packed = [layer for _, layer in quantized_layers(model)]
    assert outside.target_layers(model) == packed
    assert len(packed) == before == 14


def test_the_sample_holds_every_forward_and_its_share_of_the_layers() -> None:
    model = tiny_llama()
    generation = Generation(model, prompts(model, 1, 8, 0, CPU))
    found = outside.measure(generation, 4, CPU, latency.timed_round)
    assert len(found["prefill_s"]) == len(found["prefill_inside_s"]) == outside.ROUNDS
    assert [len(steps) for steps in found["decode_inside_s"]] == [3] * outside.ROUNDS
    for whole, inside in zip(found["decode_s"], found["decode_inside_s"], strict=True):
        assert all(0 < within < step for within, step in zip(inside, whole, strict=True))
    assert found["layers"] == 15  # the head of this model is its own
    assert 0 <= found["timer_s"] < 1e-4


def test_a_compiled_generation_has_no_answer_but_a_reason() -> None:
    model = tiny_llama()
    generation = CompiledGeneration(model, prompts(model, 1, 8, 0, CPU), tokens=4)
    found = outside.measure(generation, 4, CPU, latency.timed_round)
    assert found["value"] is None
    assert "compiled" in found["reason"]

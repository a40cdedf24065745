"""Compiled generation: eager's tokens, its own cache, its own errors."""

from __future__ import annotations

import copy
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qbench.errors import ModelError
from qbench.measure import compiled, inductor
from qbench.measure.bench import Slot
from qbench.measure.compiled import CompiledGeneration, agreement
from qbench.measure.generation import Generation, prompts
from qbench.probes.latency.measure import timing as latency
from qbench.quant.method import registry
from qbench.quant.model.convert import quantize_model, quantized_layers
from tests.probes.conftest import bench_of, tiny_llama

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Any:
    yield
    torch.compiler.reset()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but inductor's code: seconds instead of minutes."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")


def quantized_tiny() -> Any:
    model = tiny_llama().to(torch.bfloat16)
    quantize_model(model, registry.make("int4", {"group_size": 32}), {})
    return model


def tokens_of(generation: Generation, count: int) -> list[list[int]]:
    with torch.inference_mode():
        generation.prefill()
        found = [generation.token]
        for _ in range(count - 1):
            generation.step()
            found.append(generation.token)
    return torch.cat(found, 1).tolist()


@pytest.mark.usefixtures("traced")
def test_compiled_generation_gives_eagers_tokens_round_after_round() -> None:
    model = tiny_llama()
    ids = prompts(model, 2, 7, 3, CPU)
    expected = tokens_of(Generation(model, ids), 6)
    generation = CompiledGeneration(model, ids, tokens=6)
    generation.compile()
    assert tokens_of(generation, 6) == expected
    assert tokens_of(generation, 6) == expected  # the cache of the first round is gone
    found = agreement(generation)
    assert found.logits_compared == 2 * 6
    assert found.tokens_differ == 0
    assert found.max_abs_diff <= 1e-5


@pytest.mark.usefixtures("traced")
def test_rewinding_a_static_cache_repeats_the_same_steps() -> None:
    model = tiny_llama()
    generation = CompiledGeneration(model, prompts(model, 1, 7, 3, CPU), tokens=6)
    generation.compile()
    with torch.inference_mode():
        generation.prefill()
        first = generation.token
        for _ in range(4):
            generation.step()
        last = generation.token
        generation.rewind(4)
        generation.token = first
        for _ in range(4):
            generation.step()
    assert torch.equal(generation.token, last)


@pytest.mark.usefixtures("traced")
def test_the_latency_probe_says_what_compiling_took_and_counts_every_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "LEAD_IN_S", 60.0)  # a whole round each
    model = quantized_tiny()
    for _, layer in quantized_layers(model):
        layer.reset_counts()
    settings = {"prompt_lengths": [8], "batch_sizes": [1], "generated_tokens": 3, "repetitions": 2}
    (run,) = latency.measure(bench_of(model, latency=settings, runtime="compile"))["runs"]
    assert run["compile"]["mode"] == "default"
    assert [len(run["compile"][name]) for name in ("prefill_s", "decode_s")] == [1, 1]
    assert run["compile"]["check"]["tokens_differ"] == 0
    # Each forward once in: shaping the cache, compiling (2), proving that nothing compiles again (3), eager
    # and compiled of the comparison (3 each) and the whole text at once, 3 a round and its lead-in, and the
    # lead-in of the last turn.
    forwards = 1 + 2 + 3 + 2 * 3 + 1 + 2 * 3 * (run["warmup"]["rounds"] + 2) + 3
    assert {layer.calls for _, layer in quantized_layers(model)} == {forwards}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("name", "stages"), [("compile", {0, 1, 2, 3}), ("eager", {1, 2, 3})])
def test_compiling_has_a_turn_of_its_own_before_all_others(
    name: str, stages: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    held: list[int] = []
    whole = compiled.generation_for

    @contextmanager
    def slot(stage: int) -> Iterator[Slot]:
        seen.append(stage)
        held.append(stage)
        yield Slot(len(seen), 0, 0.0, "")
        held.pop()

    def generation(bench: Any, ids: Any, tokens: int) -> Any:
        assert held == ([] if name == "eager" else [0 if ids.shape[1] == 8 else 4])
        return whole(bench, ids, tokens)

    monkeypatch.setattr(compiled, "generation_for", generation)
    settings = {"prompt_lengths": [8, 9], "batch_sizes": [1], "generated_tokens": 2, "repetitions": 2}
    bench = replace(bench_of(tiny_llama(), latency=settings, runtime=name), slot=slot)
    latency.measure(bench)
    assert set(seen) == {4 * corner + stage for corner in range(2) for stage in stages}
    assert seen == sorted(seen)


@pytest.mark.usefixtures("traced")
def test_one_generated_token_compiles_no_step() -> None:
    model = tiny_llama()
    generation = CompiledGeneration(model, prompts(model, 1, 7, 3, CPU), tokens=1)
    generation.compile()
    assert list(generation.first_calls_s) == ["prefill"]
    assert agreement(generation).logits_compared == 1


@pytest.mark.usefixtures("traced")
def test_a_compiled_model_that_computes_something_else_is_refused() -> None:
    model = tiny_llama()
    generation = CompiledGeneration(model, prompts(model, 1, 7, 3, CPU), tokens=4)
    generation.compile()
    exact = generation._step

    def off(ids: torch.Tensor, cache: Any) -> tuple[torch.Tensor, torch.Tensor]:
        token, logits = exact(ids, cache)
        return token, logits + 0.05

    generation._step = off
    with pytest.raises(ModelError, match=r"differ from eager's by 0\.05"):
        agreement(generation)


@pytest.mark.usefixtures("traced")
def test_a_model_that_cannot_be_traced_whole_says_so() -> None:
    model = tiny_llama()
    model.model.norm.register_forward_hook(lambda *_: print("seen", torch.randint(9, ()).item()) or None)
    generation = CompiledGeneration(model, prompts(model, 1, 7, 3, CPU), tokens=4)
    with pytest.raises(ModelError, match=r"LlamaForCausalLM does not compile \(prefill\).*drop compile"):
        generation.compile()


@pytest.mark.usefixtures("traced")
def test_a_graph_that_would_compile_again_is_refused() -> None:
    """A sliding window keeps its length as a number that the graph depends on."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    config = MistralConfig(**shape, num_attention_heads=2, num_key_value_heads=1, sliding_window=16)
    model = MistralForCausalLM(config).eval()
    generation = CompiledGeneration(model, prompts(model, 1, 4, 3, CPU), tokens=30)
    with pytest.raises(ModelError, match=r"does not compile \(the next step\)"):
        generation.compile()


def test_a_process_has_a_folder_of_its_own_and_sweeps_those_of_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(inductor, "_own", {})
    dead, alive = tmp_path / "inductor" / "1-dead", tmp_path / "inductor" / "2-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "half.so").write_bytes(b"?")
    holder = os.open(alive, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    own = inductor.own_folder(os.getpid())
    assert own.parent == tmp_path / "inductor"
    assert not dead.exists()
    assert alive.exists()
    os.close(holder)
    assert inductor.sweep(tmp_path / "inductor") == 1  # ours is held by this very process
    assert own.exists()
    first, second = inductor.empty_caches(os.getpid()), inductor.empty_caches(os.getpid())
    assert first.parent == second.parent == own
    assert first != second, "the next graph finds what the first has compiled"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(second)
    inductor.remove_own(os.getpid())
    assert not own.exists()
    inductor.remove_own(os.getpid())


@pytest.mark.slow
def test_inductor_gives_eagers_tokens_on_the_embedded_model(austen: Any) -> None:
    model = copy.deepcopy(austen)
    quantize_model(model, registry.make("int4", {}), {})
    ids = prompts(model, 1, 16, 0, CPU)
    generation = CompiledGeneration(model, ids, tokens=12)
    generation.compile()
    assert tokens_of(generation, 12) == tokens_of(Generation(model, ids), 12)
    assert agreement(generation).max_abs_diff < 1e-4  # float32
    folder = inductor.own_folder(os.getpid())
    assert list(folder.rglob("*.so")), "inductor wrote somewhere else"

"""The latency probe's loop: right tokens, right counts, honest warm-up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from qbench.errors import ModelError
from qbench.measure.bench import Slot
from qbench.measure.generation import Generation, prompts
from qbench.probes.latency.measure import timing as latency
from tests.probes.conftest import bench_of, tiny_llama

CPU = torch.device("cpu")


def test_generation_gives_the_tokens_of_a_loop_without_a_cache(austen: Any) -> None:
    generation = Generation(austen, prompts(austen, 2, 9, 5, CPU))
    ids = generation.prompt
    with torch.inference_mode():
        generation.prefill()
        for _ in range(6):
            ids = torch.cat([ids, austen(ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
            assert torch.equal(generation.token, ids[:, -1:])
            generation.step()


def test_rewinding_repeats_the_same_steps(austen: Any) -> None:
    generation = Generation(austen, prompts(austen, 1, 9, 5, CPU))
    with torch.inference_mode():
        generation.prefill()
        first = generation.token
        for _ in range(5):
            generation.step()
        last = generation.token
        generation.rewind(5)
        assert generation.cache.get_seq_length() == 9
        generation.token = first
        for _ in range(5):
            generation.step()
    assert torch.equal(generation.token, last)


def test_prompts_follow_the_seed(austen: Any) -> None:
    assert torch.equal(prompts(austen, 2, 8, 1, CPU), prompts(austen, 2, 8, 1, CPU))
    assert not torch.equal(prompts(austen, 2, 8, 1, CPU), prompts(austen, 2, 8, 2, CPU))


def test_the_sample_has_its_agreed_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MAX_WARMUP_ROUNDS", 3)
    settings = {"prompt_lengths": [8, 16], "batch_sizes": [1, 2], "generated_tokens": 4, "repetitions": 3}
    sample = latency.measure(bench_of(tiny_llama(), latency=settings))
    assert sample["unit"] == "s"
    corners = [(run["prompt_length"], run["batch_size"]) for run in sample["runs"]]
    assert corners == [(8, 1), (8, 2), (16, 1), (16, 2)]
    for run in sample["runs"]:
        assert len(run["prefill_s"]) == 3
        assert [len(steps) for steps in run["decode_s"]] == [3, 3, 3]
        assert all(0 < value < 10 for steps in [run["prefill_s"], *run["decode_s"]] for value in steps)
        assert run["warmup"]["rounds"] == len(run["warmup"]["round_s"]) >= 1
        assert [len(run[key]) for key in ("lap", "place", "start_s")] == [3, 3, 3]
        ends = [
            start + first + sum(steps)
            for start, first, steps in zip(run["start_s"], run["prefill_s"], run["decode_s"], strict=True)
        ]
        assert all(end <= start for end, start in zip(ends[:-1], run["start_s"][1:], strict=True))
    laps = [lap for run in sample["runs"] for lap in run["lap"]]
    assert laps == sorted(set(laps)), "a round was timed out of turn"


def test_one_generated_token_has_no_decode_step() -> None:
    settings = {"prompt_lengths": [8], "batch_sizes": [1], "generated_tokens": 1, "repetitions": 2}
    assert latency.measure(bench_of(tiny_llama(), latency=settings))["runs"][0]["decode_s"] == [[], []]


def test_lengths_beyond_the_context_are_refused_before_anything_runs() -> None:
    settings = {"prompt_lengths": [8, 62], "batch_sizes": [1], "generated_tokens": 4, "repetitions": 1}
    with pytest.raises(ModelError, match="66 tokens exceed the model's context of 64"):
        latency.measure(bench_of(tiny_llama(), latency=settings))


class Scripted:
    """A generation whose rounds sleep as told."""

    def __init__(self, rounds_s: list[float]) -> None:
        self._left = iter(rounds_s)

    def prefill(self) -> None:
        time.sleep(next(self._left))

    def step(self) -> None:
        time.sleep(0.01)


def test_prefill_and_steps_are_timed_apart() -> None:
    prefill_s, *steps = latency.timed_round(Scripted([0.05]), 4, CPU)  # type: ignore[arg-type]
    assert prefill_s == pytest.approx(0.05, abs=0.03)
    assert steps == pytest.approx([0.01] * 3, abs=0.009)


def test_warm_up_goes_on_until_rounds_agree() -> None:
    found = latency.warm_up(_rounds([9.0, 3.0, 1.0, 1.01, 0.99, 5.0]))
    assert found == {
        "rounds": 5, "stable": True, "cv": pytest.approx(0.01), "round_s": [9.0, 3.0, 1.0, 1.01, 0.99]
    }  # fmt: skip


def test_warm_up_gives_up_at_its_cap_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MAX_WARMUP_S", 1000.0)
    found = latency.warm_up(_rounds([1.0, 9.0] * 50))
    assert found["rounds"] == latency.MAX_WARMUP_ROUNDS
    assert found["stable"] is False
    assert found["cv"] > latency.STABLE_CV


def test_warm_up_counts_the_seconds_of_its_rounds_alone() -> None:
    found = latency.warm_up(_rounds([14.0, 9.0, 13.0, 5.0]))
    assert (found["rounds"], found["stable"]) == (3, False), "36 s were timed, the cap is 30"


def test_every_round_is_a_turn_with_an_untimed_lead_in_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Heard(Scripted):
        def prefill(self) -> None:
            said.append("prefill")

        def step(self) -> None:
            said.append("step")

    @contextmanager
    def slot(stage: int) -> Iterator[Slot]:
        said.append(f"turn {stage}")
        yield Slot(4, 2, time.perf_counter() - 10, "")
        said.append("release")

    settings = {"prompt_lengths": [8], "batch_sizes": [1], "generated_tokens": 3, "repetitions": 1}
    bench = replace(bench_of(tiny_llama(), latency=settings), slot=slot)
    monkeypatch.setattr(latency, "LEAD_IN_S", 1000.0)
    found = latency.take_slot(bench, Heard([]), 3, 5)  # type: ignore[arg-type]
    whole = ["prefill", "step", "step"]
    assert said == ["turn 5", *whole, *whole, "release"], "a lead-in is at most a round"
    said.clear()
    monkeypatch.setattr(latency, "LEAD_IN_S", 0.0)
    latency.take_slot(bench, Heard([]), 3, 5)  # type: ignore[arg-type]
    assert said == ["turn 5", "prefill", *whole, "release"]
    assert found.start_s == pytest.approx(10, abs=0.5)
    assert (found.slot.block, found.slot.place, len(found.seconds)) == (4, 2, 3)


def _rounds(totals: list[float]) -> Callable[[], latency.Round]:
    left = iter(totals)
    return lambda: latency.Round([next(left)], Slot(0, 0, 0.0, ""), 0.0)


def test_no_collection_runs_inside_and_the_collector_comes_back() -> None:
    assert gc.isenabled()
    with latency.quiet():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_marks_agree_with_a_synchronised_host_clock() -> None:
    device = torch.device("cuda")
    a = torch.randn(4096, 4096, device=device)
    torch.mm(a, a)
    torch.cuda.synchronize()
    marks, start_s = latency.Marks(device), time.perf_counter()
    marks.mark()
    for _ in range(20):
        torch.mm(a, a)
    marks.mark()
    assert marks.seconds()[0] == pytest.approx(time.perf_counter() - start_s, rel=0.1)

"""Latency probe: time to first token, and every decode step by itself.

`prefill_s`: from a prompt of P tokens × B sequences on an empty cache to the first token. `decode_s`: each of
the N − 1 steps after it. Exact lengths, greedy, KV cache, no early stop; all samples are kept, none dropped.
The clock is `perf_counter` on a CPU and CUDA events on a GPU, with the device synchronised at both edges of a
round: events stand in the stream, so that timing the single steps does not stop the queue of launches.

Left out: tokenizing, sampling, and the transport of a server.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from qbench.measure import limits, outside, runtime
from qbench.measure.probe import Bench
from qbench.measure.workload import Generation, check_context, prompts

STABLE_CV = 0.05
"""Warm when the last `WARM_ROUNDS` rounds spread by less (standard deviation over mean)."""
WARM_ROUNDS = 3
MAX_WARMUP_ROUNDS = 10
MAX_WARMUP_S = 30.0
"""No further warm-up round starts after this; whether it was stable by then stands in the record."""


class Marks:
    """Instants on one device's clock, taken in order; `seconds()` gives the times between neighbours."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[Any] = []

    def mark(self) -> None:
        """Everything that was asked of the device before belongs before the mark."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        pairs = zip(self._marks[:-1], self._marks[1:], strict=True)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return [before.elapsed_time(after) / 1000 for before, after in pairs]
        return [after - before for before, after in pairs]


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection inside: a collection in the middle of a step is not the model's time."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


@torch.inference_mode()
def timed_round(generation: Generation, generated_tokens: int, device: torch.device) -> list[float]:
    """Seconds of the prefill and of each of the `generated_tokens` − 1 decode steps, in order."""
    synchronize(device)
    marks = Marks(device)
    marks.mark()
    generation.prefill()
    marks.mark()
    for _ in range(generated_tokens - 1):
        generation.step()
        marks.mark()
    return marks.seconds()


def synchronize(device: torch.device) -> None:
    """Waits until the device has done everything that was asked of it; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: list[float]) -> float:
    """Coefficient of variation."""
    return statistics.stdev(values) / statistics.fmean(values)


def warm_up(generation: Generation, generated_tokens: int, device: torch.device) -> dict[str, Any]:
    """Rounds until the last few agree, or until a cap. `cv` is null after too few rounds."""
    start_s, rounds, cv = time.perf_counter(), list[float](), None
    while len(rounds) < MAX_WARMUP_ROUNDS and (not rounds or time.perf_counter() - start_s < MAX_WARMUP_S):
        rounds.append(sum(timed_round(generation, generated_tokens, device)))
        if len(rounds) >= WARM_ROUNDS and (cv := spread(rounds[-WARM_ROUNDS:])) < STABLE_CV:
            break
    return {"rounds": len(rounds), "stable": cv is not None and cv < STABLE_CV, "cv": cv}


def measure_run(bench: Bench, prompt_length: int, batch_size: int) -> dict[str, Any]:
    """One corner of prompt lengths × batch sizes: warm-up, then the repetitions."""
    latency = bench.cell.latency
    assert latency is not None, "the runner asks for a probe only where the cell has its settings"
    generated = latency["generated_tokens"]
    check_context(bench.model, prompt_length + generated, "latency.prompt_lengths + generated_tokens")
    ids = prompts(bench.model, batch_size, prompt_length, bench.cell.seed, bench.device)
    generation = runtime.generation(bench, ids, generated)
    with quiet():
        warmup = warm_up(generation, generated, bench.device)
        rounds = [timed_round(generation, generated, bench.device) for _ in range(latency["repetitions"])]
        beside = outside.measure(generation, generated, bench.device, timed_round)
    generation.finish()
    return {
        "prompt_length": prompt_length,
        "batch_size": batch_size,
        "generated_tokens": generated,
        "prefill_s": [times[0] for times in rounds],
        "decode_s": [times[1:] for times in rounds],
        "warmup": warmup,
        **generation.facts(),
        "outside": beside,
        "work": limits.work(generation, generated, bench.cell.dtype),
    }


def measure(bench: Bench) -> dict[str, Any]:
    """Samples of every prompt length × batch size of the cell; see the module's docstring."""
    latency = bench.cell.latency
    assert latency is not None, "the runner asks for a probe only where the cell has its settings"
    longest = max(latency["prompt_lengths"])
    check_context(
        bench.model, longest + latency["generated_tokens"], "latency.prompt_lengths + generated_tokens"
    )
    return {
        "unit": "s",
        "runs": [
            measure_run(bench, length, batch)
            for length in latency["prompt_lengths"]
            for batch in latency["batch_sizes"]
        ],
    }

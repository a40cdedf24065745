"""Latency probe: time to first token, and every decode step by itself.

`prefill_s`: from a prompt of P tokens × B sequences on an empty cache to the first token. `decode_s`: each of
the N − 1 steps after it. Exact lengths, greedy, KV cache, no early stop; all samples are kept, none dropped.
The clock is `perf_counter` on a CPU and CUDA events on a GPU, with the device synchronised at both edges of a
round: events stand in the stream, so that timing the single steps does not stop the queue of launches.

Each round, warm-up included, has a slot of its own (`Bench.slot`), so that cells that are compared can be
measured side by side. It begins with a lead-in, a prefill and steps that are not timed: another model has had
the caches, branch predictors and cores just before, and the parent that granted the slot falls asleep.

A model whose runtime is compiled is compiled first, in a slot of its own, since the seconds of that are a
number too; the rounds then run what was compiled. The last slot of a workload runs rounds with a timer
around each layer (`non_layer_time.py`), which latency does not report. `work` says what a step has to read
and a prefill to compute (`qbench.measure.roofline`).

Left out: tokenizing, sampling, and the transport of a server.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.cell import EAGER
from qbench.json_object import JsonObject
from qbench.measure import compiled, roofline
from qbench.measure.bench import Bench, Slot
from qbench.measure.clock import Marks, quiet, synchronize
from qbench.measure.generation import Generation, check_context, prompts
from qbench.probes.latency.measure import non_layer_time
from qbench.probes.latency.section import LatencySpec

STABLE_CV = 0.05
"""Warm when the last `WARM_ROUNDS` rounds spread by less (standard deviation over mean)."""
WARM_ROUNDS = 3
MAX_WARMUP_ROUNDS = 10
MAX_WARMUP_S = 30.0
"""No further warm-up round starts once so much was timed; whether it was stable stands in the record."""

STAGES = 4
"""Stages of a workload, in their order: compiling, warm-up, rounds, and non-layer time."""

LEAD_IN_S = 0.1
"""Seconds that a slot runs untimed until its caches are its own again. Measured on 2 cores with 6M
parameters: with a prefill alone before them, the first four steps after another model's slot are 6 to 15 %
slower."""


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


def spread(values: list[float]) -> float:
    """Coefficient of variation."""
    return statistics.stdev(values) / statistics.fmean(values)


@dataclass(frozen=True)
class Round:
    """Times of one slot."""

    seconds: list[float]
    """Seconds of the prefill and of each decode step."""
    slot: Slot
    start_s: float
    """Begin of the timed part, in seconds since the first block."""


def take_slot(bench: Bench, generation: Generation, generated_tokens: int, stage: int) -> Round:
    """Waits for a slot and runs one round in it."""
    with bench.slot(stage) as slot:
        lead_in(generation, generated_tokens, bench.device)
        start_s = time.perf_counter() - slot.since_s
        return Round(timed_round(generation, generated_tokens, bench.device), slot, start_s)


@torch.inference_mode()
def lead_in(generation: Generation, generated_tokens: int, device: torch.device) -> None:
    """An untimed prefill, and steps until `LEAD_IN_S` have passed: at most a round, for a large model hardly
    more than the prefill."""
    start_s = time.perf_counter()
    generation.prefill()
    synchronize(device)
    for _ in range(generated_tokens - 1):
        if time.perf_counter() - start_s >= LEAD_IN_S:
            break
        generation.step()
        synchronize(device)


def warm_up(next_round: Callable[[], Round]) -> JsonObject:
    """Rounds until the last few agree, or until a cap. `cv` is null after too few rounds."""
    totals, cv = list[float](), None
    while len(totals) < MAX_WARMUP_ROUNDS and sum(totals) < MAX_WARMUP_S:
        totals.append(sum(next_round().seconds))
        if len(totals) >= WARM_ROUNDS and (cv := spread(totals[-WARM_ROUNDS:])) < STABLE_CV:
            break
    stable = cv is not None and cv < STABLE_CV
    return {"rounds": len(totals), "stable": stable, "cv": cv, "round_s": totals}


def prepared(bench: Bench, ids: Tensor, generated_tokens: int, stage: int) -> Generation:
    """The generation of the cell's runtime; what has to be compiled for it is compiled in a slot."""
    if bench.cell.runtime == EAGER:
        return compiled.generation_for(bench, ids, generated_tokens)
    with bench.slot(stage):
        return compiled.generation_for(bench, ids, generated_tokens)


def measure_run(bench: Bench, prompt_length: int, batch_size: int, number: int = 0) -> JsonObject:
    """One workload, a prompt length × batch size, the `number`th: warm-up, then the repetitions."""
    latency = LatencySpec.required(bench.cell)
    generated = latency.generated_tokens
    check_context(bench.model, prompt_length + generated, "latency.prompt_lengths + generated_tokens")
    ids = prompts(bench.model, batch_size, prompt_length, bench.cell.seed, bench.device)
    first = STAGES * number
    generation = prepared(bench, ids, generated, first)
    warmup = warm_up(lambda: take_slot(bench, generation, generated, first + 1))
    rounds = [take_slot(bench, generation, generated, first + 2) for _ in range(latency.repetitions)]
    with bench.slot(first + 3):
        lead_in(generation, generated, bench.device)
        non_layer = non_layer_time.measure(generation, generated, bench.device, timed_round)
    generation.finish()
    return {
        "prompt_length": prompt_length,
        "batch_size": batch_size,
        "generated_tokens": generated,
        "prefill_s": [each.seconds[0] for each in rounds],
        "decode_s": [each.seconds[1:] for each in rounds],
        "lap": [each.slot.block for each in rounds],
        "place": [each.slot.place for each in rounds],
        "start_s": [each.start_s for each in rounds],
        "since": rounds[0].slot.since_utc,
        "warmup": warmup,
        **generation.facts(),
        "outside": non_layer,
        "work": roofline.work(generation, generated, bench.cell.dtype),
    }


def measure(bench: Bench) -> JsonObject:
    """Samples of every prompt length × batch size of the cell; see the module's docstring."""
    latency = LatencySpec.required(bench.cell)
    longest = max(latency.prompt_lengths)
    check_context(
        bench.model, longest + latency.generated_tokens, "latency.prompt_lengths + generated_tokens"
    )
    workloads = itertools.product(latency.prompt_lengths, latency.batch_sizes)
    with quiet():
        runs = [measure_run(bench, *workload, number) for number, workload in enumerate(workloads)]
    return {"unit": "s", "runs": runs}

"""One version's end of a paired run, in its worker.

The worker loads, quantizes, runs the deterministic probes where it is asked to, and warms up. Then it carries
out one request whenever the parent grants it the machine, and sends the answer at once:

- `round`: a lead-in and one timed round of one workload (prompt length × batch size), as in `timing.py`;
- `quantize`: the model once more beside the first, quantized and thrown away; the seconds of that alone;
- `energy`: one trial of the energy probe;
- `over`: that was the last one.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
from typing import Any

import torch

from qbench.cell import Cell
from qbench.json_object import JsonObject
from qbench.measure.bench import Bench, free_slots
from qbench.measure.clock import quiet, synchronize
from qbench.measure.generation import Generation, check_context, prompts
from qbench.probes import registry as probe_registry
from qbench.probes.energy.measure import trials as energy
from qbench.probes.energy.section import EnergySpec
from qbench.probes.latency.measure.timing import lead_in, prepared, take_slot, timed_round, warm_up
from qbench.probes.latency.section import LatencySpec
from qbench.probes.quality.measure.attention import SplitAttention
from qbench.quant.method import registry
from qbench.quant.model.convert import layer_table, quantize_model
from qbench.run.worker.channel import Channel
from qbench.run.worker.events import Answer, MemoryNeeds, WarmWorkload
from qbench.run.worker.loading import load
from qbench.run.worker.measurement import calibration_windows, made_ready, prepare, run_probe
from qbench.run.worker.requests import Request


def rounds(cell: Cell, channel: Channel, *, probes: bool, requests: bool) -> None:
    """Sends what `measure` sends, but of latency only the workloads; then carries out requests, if asked
    to."""
    bench, needs = made_ready(cell, channel)
    for probe in probe_registry.probes().values() if probes else ():
        if probe.clock == "none" and probe.asked(cell):  # the others are taken request by request
            needs.note()
            run_probe(probe, bench, channel)
    bench.slot = free_slots()
    with quiet():
        workloads = _warm_workloads(bench, channel)
        if probes:
            channel.part("layers", layer_table(bench.model))
        channel.send(MemoryNeeds(needs.bytes()))
        if requests:
            _Requests(bench, workloads, channel).run()


@dataclasses.dataclass(frozen=True)
class _Warm:
    generation: Generation
    tokens: int


def _warm_workloads(bench: Bench, channel: Channel) -> list[_Warm]:
    """Every prompt length × batch size, compiled where the runtime asks for it, and warm."""
    latency = LatencySpec.of(bench.cell)
    if latency is None:
        return []
    tokens = latency.generated_tokens
    longest = max(latency.prompt_lengths)
    check_context(bench.model, longest + tokens, "latency.prompt_lengths + generated_tokens")
    made = []
    with channel.phase("warm_up", timed=False):
        for length, batch in itertools.product(latency.prompt_lengths, latency.batch_sizes):
            ids = prompts(bench.model, batch, length, bench.cell.seed, bench.device)
            warm = _Warm(prepared(bench, ids, tokens, 0), tokens)
            warmup = warm_up(lambda warm=warm: take_slot(bench, warm.generation, tokens, 0))  # type: ignore[misc]
            warm.generation.finish()
            facts = {"prompt_length": length, "batch_size": batch, "generated_tokens": tokens}
            channel.send(WarmWorkload({**facts, "warmup": warmup, **warm.generation.facts()}))
            made.append(warm)
    return made


@dataclasses.dataclass
class _Requests:
    """The requests of the parent, until it sends the last."""

    bench: Bench
    workloads: list[_Warm]
    channel: Channel

    def run(self) -> None:
        while True:
            with self.channel.request() as request:
                if request.errand == "over":
                    return
                self.channel.send(Answer(request.errand, self._carry_out(request)))

    def _carry_out(self, request: Request) -> Any:
        match request.errand:
            case "round":
                return self._round(self.workloads[request.corner or 0])
            case "quantize":
                return self._quantize()
            case "energy":
                return self._energy()
        raise ValueError(f"request {request.errand!r} is none of protocol 1")

    def _round(self, warm: _Warm) -> list[float]:
        lead_in(warm.generation, warm.tokens, self.bench.device)
        return timed_round(warm.generation, warm.tokens, self.bench.device)

    def _quantize(self) -> JsonObject:
        """Seconds, or null with the reason where a second model does not fit beside the first."""
        try:
            return {"seconds": _quantized_again(self.bench)}
        except (MemoryError, torch.OutOfMemoryError) as error:
            return {"seconds": None, "reason": f"no memory for a second model: {error}".splitlines()[0]}
        finally:
            gc.collect()  # a model's parts refer to each other, and `quiet` collects nothing by itself
            if self.bench.device.type == "cuda":
                torch.cuda.empty_cache()

    def _energy(self) -> JsonObject:
        """A sample of the energy probe with a single trial; null with the reason where there is no meter."""
        cell = self.bench.cell
        settings = (EnergySpec.of(cell) or EnergySpec()).model_copy(update={"trials": 1})
        once = dataclasses.replace(cell, sections={**cell.sections, settings.key: settings.values()})
        return energy.measure(dataclasses.replace(self.bench, cell=once))


def _quantized_again(bench: Bench) -> float:
    """Seconds of quantizing a second model, from the same seeds as the first."""
    cell = bench.cell
    prepare(cell)
    loaded = load(cell)
    method = registry.make(cell.method, cell.params)
    windows = calibration_windows(cell, loaded)
    synchronize(bench.device)
    with SplitAttention():
        done = quantize_model(
            loaded.model, method, cell.layers, calibration=windows, allow_fallback=cell.allow_fallback
        )
    return done.seconds

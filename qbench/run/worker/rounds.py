"""One side of a cell that is timed against the same cell of another version: the worker's end.

The worker loads, quantizes, runs the deterministic probes where it is asked to, and warms up. Then it does
one errand whenever the parent gives it the machine, and says at once what came of it:

- `round`: a lead-in and one timed round of one corner (prompt length × batch size), as in `latency.py`;
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
from qbench.measure.bench import Bench, free_turns
from qbench.measure.clock import quiet, synchronize
from qbench.measure.generation import Generation, check_context, prompts
from qbench.probes import registry as probe_registry
from qbench.probes.energy.measure import trials as energy
from qbench.probes.energy.section import EnergySpec
from qbench.probes.latency.measure.timing import lead_in, prepared, timed_round, warm_up
from qbench.probes.latency.measure.timing import take_turn as take_free_turn
from qbench.probes.latency.section import LatencySpec
from qbench.probes.quality.measure.attention import SplitAttention
from qbench.quant.method import registry
from qbench.quant.model.convert import layer_table, quantize_model
from qbench.run.worker.channel import Channel
from qbench.run.worker.loading import load
from qbench.run.worker.measurement import calibration_windows, made_ready, prepare, run_probe


def rounds(cell: Cell, channel: Channel, *, probes: bool, turns: bool) -> None:
    """Sends what `measure` sends, but of latency only `corners`; then does errands while `turns`."""
    bench, needs = made_ready(cell, channel)
    for probe in probe_registry.probes().values() if probes else ():
        if probe.clock == "none" and probe.asked(cell):  # the others are taken errand by errand
            needs.note()
            run_probe(probe, bench, channel)
    bench.turn = free_turns()
    with quiet():
        corners = _warm_corners(bench, channel)
        if probes:
            channel.part("layers", layer_table(bench.model))
        channel.send("needs", bytes=needs.bytes())
        if turns:
            _Errands(bench, corners, channel).run()


@dataclasses.dataclass(frozen=True)
class _Corner:
    generation: Generation
    tokens: int


def _warm_corners(bench: Bench, channel: Channel) -> list[_Corner]:
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
            corner = _Corner(prepared(bench, ids, tokens, 0), tokens)
            warmup = warm_up(lambda corner=corner: take_free_turn(bench, corner.generation, tokens, 0))  # type: ignore[misc]
            corner.generation.finish()
            facts = {"prompt_length": length, "batch_size": batch, "generated_tokens": tokens}
            channel.send("corner", value={**facts, "warmup": warmup, **corner.generation.facts()})
            made.append(corner)
    return made


@dataclasses.dataclass
class _Errands:
    """What the worker does for its parent until it is told that it is over."""

    bench: Bench
    corners: list[_Corner]
    channel: Channel

    def run(self) -> None:
        while True:
            with self.channel.errand() as word:
                if word["errand"] == "over":
                    return
                self.channel.send("did", errand=word["errand"], value=self._do(word))

    def _do(self, word: dict[str, Any]) -> Any:
        match word["errand"]:
            case "round":
                return self._round(self.corners[word["corner"]])
            case "quantize":
                return self._quantize()
            case "energy":
                return self._energy()
        raise ValueError(f"errand {word['errand']!r} is none of protocol 1")

    def _round(self, corner: _Corner) -> list[float]:
        lead_in(corner.generation, corner.tokens, self.bench.device)
        return timed_round(corner.generation, corner.tokens, self.bench.device)

    def _quantize(self) -> dict[str, Any]:
        """Seconds, or null with the reason where a second model does not fit beside the first."""
        try:
            return {"seconds": _quantized_again(self.bench)}
        except (MemoryError, torch.OutOfMemoryError) as error:
            return {"seconds": None, "reason": f"no memory for a second model: {error}".splitlines()[0]}
        finally:
            gc.collect()  # a model's parts refer to each other, and `quiet` collects nothing by itself
            if self.bench.device.type == "cuda":
                torch.cuda.empty_cache()

    def _energy(self) -> dict[str, Any]:
        """A sample of the energy probe with a single trial; null with the reason where there is no meter."""
        cell = self.bench.cell
        settings = (EnergySpec.of(cell) or EnergySpec()).model_copy(update={"trials": 1})
        once = dataclasses.replace(cell, sections={**cell.sections, settings.key: settings.values()})
        return energy.measure(dataclasses.replace(self.bench, cell=once))


def _quantized_again(bench: Bench) -> float:
    """As the first time, from the same seeds."""
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

"""Time of a forward outside the quantized layers: attention, norms, the head, and Python.

After the timed rounds a few more run with a timer around the forward of each layer: `perf_counter` on a CPU,
CUDA events on a GPU (what the device waits for inside a layer counts as that layer's). Layers: the quantized
ones; in an unquantized model those that quantization would take. Raw seconds are kept, of whole forwards and
inside the layers. The timer's own time, `timer_s` a call, falls outside of what it measures; reading takes
that off (seen: 0.15 µs; whole steps of SmolLM2-135M, 210 layers, took 1 to 2 % longer). Nothing of this
touches the rounds that latency reports.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qbench.json_object import JsonObject
from qbench.measure.generation import Generation
from qbench.quant.model.convert import quantized_layers
from qbench.quant.selection.targets import candidates, tied

ROUNDS = 2
TIMER_CALLS = 2000

Round = Callable[[Any, int, torch.device], list[float]]
"""`latency.timed_round`."""


class LayerClock:
    """Adds up the seconds inside layers, between one `cut` and the next."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._stretches: list[list[Any]] = [[]]

    def around(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The function with a timer around it."""
        if self._cuda:
            return self._with_events(forward)
        stretches, now = self._stretches, time.perf_counter

        def timed(*args: Any, **kwargs: Any) -> Any:
            start_s = now()
            out = forward(*args, **kwargs)
            stretches[-1].append(now() - start_s)
            return out

        return timed

    def cut(self) -> None:
        """Begins another forward of the model."""
        self._stretches.append([])

    def seconds(self) -> list[float]:
        """Inside layers, by stretch."""
        if not self._cuda:
            return [sum(stretch) for stretch in self._stretches if stretch]
        torch.cuda.synchronize()
        return [
            sum(start.elapsed_time(end) / 1000 for start, end in stretch)
            for stretch in self._stretches
            if stretch
        ]

    def _with_events(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            marks[0].record()
            out = forward(*args, **kwargs)
            marks[1].record()
            self._stretches[-1].append(marks)
            return out

        return timed


class _Watched:
    """A generation that tells the clock where one forward ends."""

    def __init__(self, generation: Generation, clock: LayerClock) -> None:
        self._generation, self._clock = generation, clock

    def prefill(self) -> None:
        self._generation.prefill()
        self._clock.cut()

    def step(self) -> None:
        self._generation.step()
        self._clock.cut()


def target_layers(model: nn.Module) -> list[nn.Module]:
    """The quantized layers, or of an unquantized model those that quantization takes when nothing is said."""
    packed = [layer for _, layer in quantized_layers(model)]
    if packed:
        return list(packed)
    found = candidates(model)
    ties = tied(model, found)
    return [model.get_submodule(name) for name in found if name not in ties]


def measure(
    generation: Generation, generated_tokens: int, device: torch.device, timed_round: Round
) -> JsonObject:
    """Seconds of whole forwards and inside the layers, by round; null with the reason where it cannot be."""
    if type(generation) is not Generation:
        return {"value": None, "reason": "a compiled graph does not end where a layer does"}
    layers = target_layers(generation.model)
    if not layers:
        return {"value": None, "reason": "the model has no layer that quantization would take"}
    whole, inside = list[list[float]](), list[list[float]]()
    for _ in range(ROUNDS):
        clock = LayerClock(device)
        with timers(layers, clock):
            whole.append(timed_round(_Watched(generation, clock), generated_tokens, device))
        inside.append(clock.seconds())
    return {
        "layers": len(layers),
        "timer_s": timer_s(device),
        "prefill_s": [times[0] for times in whole],
        "prefill_inside_s": [times[0] for times in inside],
        "decode_s": [times[1:] for times in whole],
        "decode_inside_s": [times[1:] for times in inside],
    }


@contextmanager
def timers(layers: Sequence[nn.Module], clock: LayerClock) -> Iterator[None]:
    """Puts the clock around each layer's forward, and takes it off again."""
    for layer in layers:
        layer.forward = clock.around(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def timer_s(device: torch.device) -> float:
    """Seconds of one timed call beyond those that the timer sees, from a function that does nothing."""
    if device.type == "cuda":
        return 0.0  # the host records events while the device works on what was asked before
    clock = LayerClock(device)
    empty: Callable[[Tensor | None], None] = lambda x: None  # noqa: E731
    timed = clock.around(empty)
    spent = []
    for function in (empty, timed):
        start_s = time.perf_counter()
        for _ in range(TIMER_CALLS):
            function(None)
        spent.append(time.perf_counter() - start_s)
    return max(0.0, (spent[1] - spent[0] - sum(clock.seconds())) / TIMER_CALLS)

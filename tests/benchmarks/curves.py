"""Curves over rows: bf16, the kernels of this machine, and the dispatcher, in one interleaved run.

Each weight exists in enough copies that none lies in the cache when its turn comes; how the turns are taken
stands in `qbench.measure.interleaved`. A ratio is that of medians. Times are of the call alone: preparing is
done before.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear

from qbench.measure import interleaved
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels import kernels
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations

DRAWN_UP_TO = {"int8_pack": 32, "int8_native": 4}
"""Rows above which a kernel is not drawn: tens of times slower than the rest, or not to be had."""
TURNS = ((64, 31), (512, 11), (10**6, 5))
"""Samples of each runner, up to so many rows."""

Runner = Callable[[Tensor, int], Tensor]
Curve = dict[int, dict[str, float]]
"""Rows → runner → median seconds."""


def runners(weights: Sequence[AffineWeight]) -> dict[str, Runner]:
    """bf16, `auto`, and every kernel that can run such a weight here; `weights` are copies to rotate."""
    copies = len(weights)
    floats = [weight.dequantize(torch.bfloat16) for weight in weights]
    found: dict[str, Runner] = {"bf16": lambda x, turn: linear(x, floats[turn % copies])}
    spec = QuantizedLinear.from_weight(weights[0], dtype=torch.bfloat16).spec
    cpu = torch.device("cpu")
    names = [entry.name for entry in kernels() if entry.why_not(spec, "bf16", cpu) is None]
    for name in ("auto", *names):
        layers = [
            QuantizedLinear.from_weight(weight, dtype=torch.bfloat16, kernel=name) for weight in weights
        ]
        found[name] = lambda x, turn, layers=layers: layers[turn % copies](x)  # type: ignore[misc]
    return found


def samples(run: dict[str, Runner], x: Tensor, turns: int, copies: int) -> dict[str, list[float]]:
    """Seconds of each turn of each runner, interleaved, after one untimed call on every copy."""
    rows = x.shape[0]
    taken = {name: runner for name, runner in run.items() if rows <= DRAWN_UP_TO.get(name, rows)}
    calls = {name: partial(runner, x) for name, runner in taken.items()}
    return interleaved.samples(calls, turns, rows, torch.device("cpu"), warm=copies)


def draw(rows: tuple[int, ...], speedups: dict[int, dict[str, float]], medians: Curve, title: str) -> str:
    """A table of milliseconds and speedups, and a bar for the dispatcher's speedup (| marks bf16's 1×)."""
    names = list(medians[rows[0]])
    lines = [title, "rows  " + "".join(f"{name[:20]:>22}" for name in names)]
    for count in rows:
        cells = [
            f"{medians[count][name] * 1e3:9.3f} ms {speedups[count][name]:5.2f}x"
            if name in medians[count]
            else "–"
            for name in names
        ]
        lines.append(f"{count:5d} " + "".join(f"{cell:>22}" for cell in cells))
    lines.append("auto over bf16")
    for count in rows:
        bar = "█" * round(speedups[count]["auto"] * 10)
        lines.append(f"{count:5d} {bar[:10]:<10}|{bar[10:]} {speedups[count]['auto']:.2f}x")
    return "\n".join(lines)


def curve(
    weights: Sequence[AffineWeight], rows: tuple[int, ...], timed: bool
) -> tuple[dict[int, dict[str, float]], Curve]:
    """Speedups over bf16 and median seconds, by rows and runner; one call each where timing is off."""
    run = runners(weights)
    speedups: dict[int, dict[str, float]] = {}
    medians: Curve = {}
    with torch.inference_mode():
        for count in rows:
            turns = next(number for most, number in TURNS if count <= most) if timed else 1
            x = activations(count, weights[0].codes.shape[1], torch.bfloat16)
            times = samples(run, x, turns, len(weights))
            medians[count] = {name: statistics.median(taken) for name, taken in times.items()}
            speedups[count] = {
                name: medians[count]["bf16"] / seconds for name, seconds in medians[count].items()
            }
    return speedups, medians


def missed(speedups: dict[int, dict[str, float]], least: dict[int, float], what: str) -> list[str]:
    """Prints for each row count whether its target was met; returns those that were not."""
    found = []
    for count, target in least.items():
        measured = speedups[count]["auto"]
        met = measured >= target
        print(f"{what}, {count:5d} rows: target {target}x, {measured:.2f}x, {'met' if met else 'MISSED'}")
        if not met:
            found.append(f"{what}, {count} rows: {measured:.2f}x of {target}x")
    return found

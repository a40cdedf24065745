"""Energy probe: joules per prompt token and per generated token, gross, with the idle power beside them.

Recipe: warm up, synchronise, wait for a step of the counter, loop for at least `min_window_s`, synchronise,
wait for the next step. Prefill windows run prefills only, decode windows decode steps only (the cache is
rewound, the prompt is not run again); trials of the two alternate in a seeded random order. Idle is measured
first, with the model resident. τ is calibrated on the device; an aligned window shorter than
`MIN_PERIODS` · τ is refused. `instant_j` integrates an independent power sensor over the same window.

No source gives null with the reason, never 0 and never a guess from a data sheet.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch

from qbench.measure import nvml, runtime
from qbench.measure.latency import quiet, synchronize
from qbench.measure.meter import Clock, Meter, NoEnergy, Window, period_s
from qbench.measure.probe import Bench
from qbench.measure.rapl import RaplMeter
from qbench.measure.workload import Generation, check_context, prompts

MIN_PERIODS = 5
WORKLOAD = {"prompt_length": 128, "batch_size": 1, "generated_tokens": 32}
"""What runs where the cell asks for no latency."""


def open_meter(device: torch.device) -> Meter:
    """The meter that covers this device; NoEnergy with the reason where there is none."""
    if device.type == "cpu":
        return RaplMeter()
    return nvml.NvmlMeter(nvml.uuid_of(torch.cuda.get_device_properties(device)), nvml.bindings())


def sources(device: str) -> dict[str, str]:
    """For `qbench doctor`: the source that would be used → what it can do, or why not."""
    name = "rapl" if torch.device(device).type == "cpu" else "nvml_counter"
    try:
        meter, clock = open_meter(torch.device(device)), Clock()
        instant = "with" if meter.power_w() is not None else "no"
        return {name: f"counts, period {period_s(meter, clock) * 1000:.1f} ms, {instant} instant power"}
    except NoEnergy as missing:
        return {name: str(missing)}


def measure(bench: Bench) -> dict[str, Any]:
    """Samples of energy, or null with the reason; see the module's docstring."""
    energy = bench.cell.energy
    assert energy is not None, "the runner asks for a probe only where the cell has its settings"
    try:
        return measure_with(open_meter(bench.device), Clock(), bench)
    except NoEnergy as missing:
        return {"unit": "J", "value": None, "reason": missing.reason, "detail": missing.detail}


def measure_with(meter: Meter, clock: Clock, bench: Bench) -> dict[str, Any]:
    """The probe on a given meter and clock; raises NoEnergy."""
    energy = bench.cell.energy
    assert energy is not None, "the runner asks for a probe only where the cell has its settings"
    tau_s = period_s(meter, clock)
    if energy["min_window_s"] < MIN_PERIODS * tau_s:
        raise NoEnergy(
            "window_too_short",
            f"energy.min_window_s {energy['min_window_s']} is under {MIN_PERIODS} periods of {tau_s:.3f} s",
        )
    with quiet():
        return {
            "unit": "J",
            "source": meter.source,
            "period_s": tau_s,
            "state_before": meter.state(),
            **_windows(meter, clock, bench, energy["min_window_s"], energy["trials"]),
            "state_after": meter.state(),
        }


def _windows(meter: Meter, clock: Clock, bench: Bench, min_window_s: float, trials: int) -> dict[str, Any]:
    workload = _workload(bench)
    parts = _parts(bench, workload)
    idle = Window(meter, clock).run(lambda: clock.sleep_s(min_window_s), 1)
    assert idle["gross_j"] is not None
    assert idle["window_s"] is not None
    device = bench.device
    iterations = {name: _iterations(work, device, clock, min_window_s) for name, (work, _) in parts.items()}
    order = [name for name in parts for _ in range(trials)]
    random.Random(bench.cell.seed).shuffle(order)
    measured: dict[str, list[dict[str, float | None]]] = {name: [] for name in parts}
    for name in order:
        window = Window(meter, clock, lambda: synchronize(device))
        measured[name].append(window.run(parts[name][0], iterations[name]))
    found: dict[str, Any] = {
        name: {
            **{key: [window[key] for window in measured[name]] for key in measured[name][0]},
            "idle_w": idle["gross_j"] / idle["window_s"],
            "tokens": iterations[name] * tokens,
            "iterations": iterations[name],
        }
        for name, (_, tokens) in parts.items()
    }
    return {"workload": workload, **found}


def _workload(bench: Bench) -> dict[str, int]:
    latency = bench.cell.latency
    workload = dict(WORKLOAD)
    if latency is not None:
        workload["prompt_length"] = latency["prompt_lengths"][0]
        workload["batch_size"] = latency["batch_sizes"][0]
        workload["generated_tokens"] = latency["generated_tokens"]
    check_context(bench.model, workload["prompt_length"] + workload["generated_tokens"], "energy workload")
    return workload


def _parts(bench: Bench, workload: dict[str, int]) -> dict[str, tuple[Callable[[], None], int]]:
    """Part → (one iteration of its work, tokens of one iteration). No decode for fewer than two tokens."""
    batch, steps = workload["batch_size"], workload["generated_tokens"] - 1
    ids = prompts(bench.model, batch, workload["prompt_length"], bench.cell.seed, bench.device)
    made: list[Generation] = [runtime.generation(bench, ids, workload["generated_tokens"]) for _ in range(2)]
    prompt_only, decoding = made

    @torch.inference_mode()
    def prefill() -> None:
        prompt_only.prefill()
        prompt_only.finish()

    @torch.inference_mode()
    def decode() -> None:
        if decoding.token is None:
            decoding.prefill()
        for _ in range(steps):
            decoding.step()
        decoding.rewind(steps)
        decoding.finish()

    parts = {"prefill": (prefill, batch * workload["prompt_length"])}
    return {**parts, "decode": (decode, batch * steps)} if steps > 0 else parts


def _iterations(work: Callable[[], None], device: torch.device, clock: Clock, min_window_s: float) -> int:
    """How often `work` runs in one window. Warms up, then times for a tenth of a window; 10% to spare."""
    work()
    synchronize(device)
    start_s, count = clock.now_s(), 0
    while not count or clock.now_s() - start_s < min_window_s / 10:
        work()
        synchronize(device)
        count += 1
    return math.ceil(1.1 * min_window_s * count / (clock.now_s() - start_s))

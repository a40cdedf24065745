"""Energy probe: raw windows of prefill and of decoding, with idle windows before and after them.

Prefill windows run prefills only, decode windows decode steps only (the cache is rewound, the prompt is not
run again); trials of the two alternate in a seeded random order. Each window is aligned to the counter's
steps (`qbench.probes.energy.measure.window`), whose period τ is calibrated first; an aligned window shorter
than `MIN_PERIODS` · τ is refused. Idle is measured with the model resident, before and after, so that drift
shows. Where there is no counter, instant power is integrated instead, and the source is named so.

No source gives null with the reason, never 0 and never a guess from a data sheet. Joules, their interval and
their error bound are computed on reading, in `qbench.probes.energy.metrics`.
"""

from __future__ import annotations

import math
import random
from dataclasses import asdict

import torch

from qbench.json_object import JsonObject
from qbench.measure import compiled
from qbench.measure.bench import Bench
from qbench.measure.clock import quiet, synchronize
from qbench.measure.generation import check_context, prompts
from qbench.measure.nvml_binding import bindings, uuid_of
from qbench.probes.energy.measure import nvml
from qbench.probes.energy.measure.meter import Clock, Meter, NoEnergy
from qbench.probes.energy.measure.rapl import RaplMeter
from qbench.probes.energy.measure.ticks import Tick, calibrate, period_s, read_s
from qbench.probes.energy.measure.window import SAMPLE_S, STALE_S, Look, Window, Work
from qbench.probes.energy.section import EnergySpec
from qbench.probes.latency.section import WorkloadSize

MIN_PERIODS = 3
"""In a window; its error bound says what so short a one is worth."""
MIN_SAMPLES = 5
"""Samples of instant power in a window, where there is no counter."""
IDLE_SLICE_S = 0.05


def open_meter(device: torch.device) -> Meter:
    """The meter that covers this device; NoEnergy with the reason where there is none."""
    if device.type == "cpu":
        return RaplMeter()
    return nvml.NvmlMeter(uuid_of(torch.cuda.get_device_properties(device)), bindings())


def sources(device: str) -> dict[str, str]:
    """For `qbench doctor`: the source that would be used → what it can do, or why not."""
    try:
        meter = open_meter(torch.device(device))
        return {meter.source: abilities(meter, Clock())}
    except NoEnergy as missing:
        return {"rapl" if torch.device(device).type == "cpu" else "nvml": str(missing)}


def abilities(meter: Meter, clock: Clock) -> str:
    """Method, scope, period, resolution and cost of a read, in one line. Raises NoEnergy."""
    facts = meter.facts()
    power_w = meter.glance().power_w
    instant = "no instant power"
    if power_w is not None:
        instant = f"instant power of the {facts['power_scope']}, now {power_w:.0f} W"
    if meter.method == "integrated":
        return f"{instant}, integrated; no counter ({facts['counter_reason']})"
    tau_ms, read_ms = period_s(calibrate(meter, clock)) * 1e3, read_s(meter, clock) * 1e3
    counter = (
        f"counter of the {facts['scope']}, period {tau_ms:.1f} ms, step {facts['resolution_j'] * 1e3:g} mJ"
    )
    return f"{counter}, {read_ms:.2g} ms a read; {instant}"


def measure(bench: Bench) -> JsonObject:
    """Samples of energy, or null with the reason; see the module's docstring."""
    try:
        return measure_with(open_meter(bench.device), Clock(), bench)
    except NoEnergy as missing:
        return {"unit": "J", "value": None, "reason": missing.reason, "detail": missing.detail}


def measure_with(meter: Meter, clock: Clock, bench: Bench) -> JsonObject:
    """The probe on a given meter and clock; raises NoEnergy."""
    settings = EnergySpec.required(bench.cell)
    with quiet():
        ticks = calibrate(meter, clock) if meter.method == "counter" else []
        tau_s = period_s(ticks) if ticks else None
        _check_length(settings.min_window_s, tau_s)
        trials = Trials(meter, clock, bench, settings.min_window_s, tau_s or 0.0)
        return {
            "unit": "J",
            "source": meter.source,
            "method": meter.method,
            **meter.facts(),
            "period_s": tau_s,
            "calibration": _plain(ticks),
            "read_s": read_s(meter, clock) if ticks else None,
            "state_before": meter.state(bench.siblings()),
            **trials.run(settings.trials),
            "state_after": meter.state(bench.siblings()),
        }


class Trials:
    """The windows of one cell: idle, then every trial of every part in a seeded order, then idle again."""

    def __init__(self, meter: Meter, clock: Clock, bench: Bench, min_window_s: float, tau_s: float) -> None:
        self._clock, self._bench, self._min_window_s, self._tau_s = clock, bench, min_window_s, tau_s
        self._random = random.Random(bench.cell.seed)
        self._window = Window(meter, clock, lambda: synchronize(bench.device), min_window_s)

    def run(self, trials: int) -> JsonObject:
        """`workload`, `idle`, and by part its `tokens`, `iterations` and a list a window's sample."""
        workload = WorkloadSize.first_of(self._bench.cell)
        check_context(self._bench.model, workload.tokens, "energy workload")
        parts = _parts(self._bench, workload)
        before = self._window.run(self._rest, 1)
        iterations = {name: self._iterations(work) for name, (work, _) in parts.items()}
        delays = {name: self._delays(trials) for name in parts}
        order = [name for name in parts for _ in range(trials)]
        self._random.shuffle(order)
        measured: dict[str, list[JsonObject]] = {name: [] for name in parts}
        for name in order:
            delay_s, seed = delays[name].pop(), self._random.getrandbits(32)
            measured[name].append(self._window.run(parts[name][0], iterations[name], delay_s, seed))
        found = {
            name: {
                "tokens": iterations[name] * tokens,
                "iterations": iterations[name],
                **{key: [window[key] for window in measured[name]] for key in measured[name][0]},
            }
            for name, (_, tokens) in parts.items()
        }
        idle = {"before": before, "after": self._window.run(self._rest, 1)}
        return {"workload": asdict(workload), "idle": idle, **found}

    def _rest(self, look: Look) -> None:
        """An idle window's work: the device keeps the model and does nothing."""
        start_s = self._clock.now_s()
        while self._clock.now_s() - start_s < self._min_window_s:
            self._clock.sleep_s(IDLE_SLICE_S)
            look()

    def _delays(self, trials: int) -> list[float]:
        """Begin of each trial after a step: one in each equal part of τ, in random order."""
        places = list(range(trials))
        self._random.shuffle(places)
        return [(place + self._random.random()) / trials * self._tau_s for place in places]

    def _iterations(self, work: Work) -> int:
        """Repetitions of `work` that fill a window, 10% to spare; warms up, then times a tenth of one."""
        device, clock = self._bench.device, self._clock
        work(_nothing)
        synchronize(device)
        start_s, count = clock.now_s(), 0
        while not count or clock.now_s() - start_s < self._min_window_s / 10:
            work(_nothing)
            synchronize(device)
            count += 1
        return math.ceil(1.1 * self._min_window_s * count / (clock.now_s() - start_s))


def _check_length(min_window_s: float, tau_s: float | None) -> None:
    least_s = STALE_S + MIN_SAMPLES * SAMPLE_S * 1.5 if tau_s is None else MIN_PERIODS * tau_s
    if min_window_s < least_s:
        what = "samples of power" if tau_s is None else f"periods of {tau_s:.3f} s of the counter"
        count = MIN_SAMPLES if tau_s is None else MIN_PERIODS
        raise NoEnergy(
            "window_too_short",
            f"energy.min_window_s {min_window_s} is under {least_s:.2f} s, {count} {what}; raise it",
        )


def _plain(ticks: list[Tick]) -> list[list[float]]:
    """For the record: seconds and joules since the first."""
    return [
        [tick.after_s - ticks[0].after_s, tick.by_s - ticks[0].after_s, tick.energy_j - ticks[0].energy_j]
        for tick in ticks
    ]


def _parts(bench: Bench, workload: WorkloadSize) -> dict[str, tuple[Work, int]]:
    """Part → (one iteration of its work, tokens of one iteration). No decode for fewer than two tokens."""
    batch, steps = workload.batch_size, workload.generated_tokens - 1
    ids = prompts(bench.model, batch, workload.prompt_length, bench.cell.seed, bench.device)
    tokens = workload.generated_tokens
    prompt_only, decoding = (compiled.generation_for(bench, ids, tokens) for _ in range(2))

    @torch.inference_mode()
    def prefill(look: Look) -> None:
        prompt_only.prefill()
        prompt_only.finish()

    @torch.inference_mode()
    def decode(look: Look) -> None:
        if decoding.token is None:
            decoding.prefill()
        for _ in range(steps):
            decoding.step()
            look()
        decoding.rewind(steps)
        decoding.finish()

    parts: dict[str, tuple[Work, int]] = {"prefill": (prefill, batch * workload.prompt_length)}
    return {**parts, "decode": (decode, batch * steps)} if steps > 0 else parts


def _nothing() -> None:
    """Nobody looks."""

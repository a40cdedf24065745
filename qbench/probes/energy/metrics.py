"""Energy: joules per token from the measured windows, gross and net of what an idle device draws.

Gross is what the device drew while it worked, over the tokens of that work: the mean over the trials. Net
takes off what it draws at rest with the model resident, the mean of an idle window before and one after. Two
kinds of uncertainty are told apart: `_low` and `_high` are Student's t interval (95 %) of the mean over at
least three trials, and so the spread between windows; `energy_error_pct` bounds what the instrument may have
got wrong in each of them (`windows.py`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from statistics import fmean, median, stdev

from qbench.probes.energy import context as facts
from qbench.probes.energy.modelled import METRICS as MODELLED
from qbench.probes.energy.windows import idle_w, worked
from qbench.results.columns.column import Direction, Display, Gate
from qbench.results.columns.metric import Metric, fact
from qbench.results.store.lookup import Value, number, probe
from qbench.results.store.record import Record

PARTS = {"decode": "generated token", "prefill": "prompt token"}
LEAST_TRIALS = 3


def per_trial(record: Record, part: str, *, net: bool) -> list[float]:
    """Joules per token of every window of `part`."""
    sample = probe(record, "energy")
    tokens, rest = (sample.get(part) or {}).get("tokens"), idle_w(sample, part)
    if not tokens or (net and not rest):
        return []
    idle = fmean(rest) if net else 0.0
    return [(window.energy_j - idle * window.seconds) / tokens for window in worked(sample, part)]


def joules_per_token(part: str, *, net: bool) -> Callable[[Record], Value]:
    """Mean over the windows of `part`."""

    def value(record: Record) -> Value:
        trials = per_trial(record, part, net=net)
        return fmean(trials) if trials else None

    return value


def interval_end(part: str, sign: int) -> Callable[[Record], Value]:
    """One end of the 95 % interval of the mean gross joules per token: mean ± t(n−1) · s / √n."""

    def value(record: Record) -> Value:
        trials = per_trial(record, part, net=False)
        if len(trials) < LEAST_TRIALS:
            return None
        from qbench.results.stats.bootstrap import student_quantile  # which imports numpy

        half = student_quantile(0.975, len(trials) - 1) * stdev(trials) / math.sqrt(len(trials))
        return fmean(trials) + sign * half

    return value


def error_percent(part: str) -> Callable[[Record], Value]:
    """Bound of the instrument's error over all windows of `part`, % of their energy."""

    def value(record: Record) -> Value:
        windows = worked(probe(record, "energy"), part)
        bounds = [window.bound_j for window in windows if window.bound_j is not None]
        total_j = sum(window.energy_j for window in windows)
        return 100 * sum(bounds) / total_j if bounds and total_j > 0 else None

    return value


def residual_percent(part: str) -> Callable[[Record], Value]:
    """Integrated instant power against the counter, % of the counter's, median over the windows."""

    def value(record: Record) -> Value:
        sample = probe(record, "energy")
        if sample.get("method") != "counter":
            return None
        gaps = [
            100 * (window.integrated_j / window.energy_j - 1)
            for window in worked(sample, part)
            if window.integrated_j is not None and window.energy_j > 0
        ]
        return median(gaps) if gaps else None

    return value


def _mean_power(record: Record) -> Value:
    windows = worked(probe(record, "energy"), "decode")
    seconds = sum(window.seconds for window in windows)
    return sum(window.energy_j for window in windows) / seconds if seconds else None


def _idle(record: Record) -> Value:
    rest = idle_w(probe(record, "energy"), "decode")
    return fmean(rest) if rest else None


def _idle_drift(record: Record) -> Value:
    rest = idle_w(probe(record, "energy"), "decode")
    return rest[1] - rest[0] if len(rest) == 2 else None


def _shortest_s(record: Record) -> Value:
    seconds = [window.seconds for part in PARTS for window in worked(probe(record, "energy"), part)]
    return min(seconds, default=None)


def _limit_w(record: Record) -> Value:
    limit_mw = facts.state("before", "power_limit_mw")(record)
    return None if limit_mw is None else limit_mw / 1000


def lacking(what: str) -> Callable[[Record], str | None]:
    """Reason of a null column where something was measured."""
    return lambda record: what if probe(record, "energy") else None


def _about(
    name: str, unit: str, description: str, value: Callable[[Record], Value], null: str,
    direction: Direction | None = None,
) -> Metric:  # fmt: skip
    why = lacking(null)
    return Metric(name, unit, direction, "timed", "energy", 3, description, value, why, group="Energy")


def _j(
    name: str, description: str, value: Callable[[Record], Value], null: str, *, gate: Gate | None = None,
    title: str = "", display: Display | None = None, compared: int = 0, interval: str = "",
) -> Metric:  # fmt: skip
    metric = _about(name, "J", description, value, null, "lower")
    return dataclasses.replace(
        metric, gate=gate, title=title, display=display, compared=compared, interval=interval
    )


_OVER_TRIALS = "95 % interval of the mean over trials"
_INTERVAL = "95 % interval of the mean over at least three trials, Student's t: the spread between windows"

_NO_DECODE = "no decode step for fewer than two generated tokens"
_NO_WINDOWS = "no windows were measured"
_NO_TRIALS = f"an interval needs at least {LEAST_TRIALS} trials"
_NO_BOUND = "recorded before bounds were"
_NO_CHECK = "there is no second, independent source"
_NOT_TOLD = "the source does not tell"

METRICS = (
    _j(
        "energy_j_per_token", "gross energy per generated token, mean over trials; null with the reason in "
        "energy_reason", joules_per_token("decode", net=False), _NO_DECODE, gate=Gate(None), title="Energy",
        display=Display(120, terminal=105), compared=5, interval=_OVER_TRIALS,
    ),
    _j(
        "energy_j_per_token_low", f"lower end of the {_INTERVAL}", interval_end("decode", -1), _NO_TRIALS,
    ),
    _j("energy_j_per_token_high", "upper end of the same", interval_end("decode", 1), _NO_TRIALS),
    _j(
        "energy_j_per_prompt_token", "gross energy per prompt token, mean over trials",
        joules_per_token("prefill", net=False), _NO_WINDOWS, gate=Gate(None), compared=6,
        interval=_OVER_TRIALS,
    ),
    _j(
        "energy_j_per_prompt_token_low", f"lower end of the {_INTERVAL}", interval_end("prefill", -1),
        _NO_TRIALS,
    ),
    _j("energy_j_per_prompt_token_high", "upper end of the same", interval_end("prefill", 1), _NO_TRIALS),
    _j(
        "energy_net_j_per_token",
        "energy per generated token less what the idle device draws in the same time",
        joules_per_token("decode", net=True), _NO_DECODE,
    ),
    _j(
        "energy_net_j_per_prompt_token",
        "energy per prompt token less what the idle device draws in the same time",
        joules_per_token("prefill", net=True), _NO_WINDOWS,
    ),
    _about("energy_power_w", "W", "mean power while decoding", _mean_power, _NO_DECODE),
    _about(
        "energy_idle_w", "W", "power at rest, model resident; mean of before and after the windows", _idle,
        _NO_WINDOWS,
    ),
    _about(
        "energy_idle_drift_w", "W", "power at rest after the windows less that before", _idle_drift,
        "idle was measured once",
    ),
    _about(
        "energy_error_pct", "%", "bound of the instrument's error in energy_j_per_token: steps, resolution, "
        "idle tail; as far as the counter itself is true", error_percent("decode"), _NO_BOUND,
    ),
    _about(
        "energy_prompt_error_pct", "%", "the same of energy_j_per_prompt_token", error_percent("prefill"),
        _NO_BOUND,
    ),
    _about(
        "energy_residual_pct", "%", "integrated instant power over the counter less one, median over the "
        "decode windows: the cross-check", residual_percent("decode"), _NO_CHECK,
    ),
    _about(
        "energy_prompt_residual_pct", "%", "the same of the prefill windows", residual_percent("prefill"),
        _NO_CHECK,
    ),
    _about("energy_window_s", "s", "the shortest window's work", _shortest_s, _NO_WINDOWS),
    _about(
        "energy_period_s", "s", "calibrated period of the counter",
        lambda record: number(probe(record, "energy").get("period_s")), "there is no counter",
    ),
    fact(
        "energy_trials", "energy", "decode windows measured",
        lambda record: float(len(worked(probe(record, "energy"), "decode"))) or None,
        lacking(_NO_DECODE), group="Energy",
    ),
    fact(
        "energy_other_processes", "energy", "other processes on the GPU; above none, its energy is not ours "
        "alone", facts.other_processes, lacking(_NOT_TOLD), group="Energy",
    ),
    _about(
        "energy_temperature_start_c", "°C", "GPU before the windows",
        facts.state("before", "temperature_c"), _NOT_TOLD,
    ),
    _about(
        "energy_temperature_end_c", "°C", "GPU after the windows", facts.state("after", "temperature_c"),
        _NOT_TOLD,
    ),
    _about("energy_power_limit_w", "W", "enforced power limit", _limit_w, _NOT_TOLD),
    _about(
        "energy_sampling_share", "", "of the windows' time, the share that reading power took",
        facts.sampling_share, _NO_WINDOWS,
    ),
    *MODELLED,
)  # fmt: skip

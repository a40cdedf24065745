"""Conditions of an energy measurement: throttling by name, temperature, processes, source, scope."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qbench.results.columns.metric import Text
from qbench.results.store.lookup import Value, missing_reason, number, probe
from qbench.results.store.record import Record

THROTTLE = {
    0x002: "applications_clocks",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal",
    0x040: "hw_thermal",
    0x080: "hw_power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}
"""NVML's nvmlClocksEventReason… bits; bit 1 (idle) holds nothing down."""


def throttle_names(bits: int) -> list[str]:
    """The reasons that are set, idle left out; a bit without a name as hexadecimal."""
    rest = bits & ~(sum(THROTTLE) | 1)
    names = [name for bit, name in THROTTLE.items() if bits & bit]
    return [*names, *([hex(rest)] if rest else [])]


def throttle_bits(record: Record) -> int | None:
    """Every reason seen in any window of the work; None where the source tells none."""
    found = [bits for part in _parts(record) for bits in part.get("throttle", ()) if bits is not None]
    if not found:
        return None
    together = 0
    for bits in found:
        together |= bits
    return together


def _reason(record: Record) -> str | None:
    return None if probe(record, "energy") else missing_reason(record, "energy", "energy_j_per_token")


def _throttle(record: Record) -> str | None:
    bits = throttle_bits(record)
    return None if bits is None else ", ".join(throttle_names(bits)) or "none"


TEXTS = (
    Text("energy_reason", "why the energy columns are null", _reason, group="Energy"),
    Text(
        "energy_source", "nvml_counter, nvml_integrated (no counter: instant power integrated) or rapl",
        lambda record: probe(record, "energy").get("source"), group="Energy",
    ),
    Text(
        "energy_scope", "what the source covers: gpu, module (GPU and CPU of a GH200) or package",
        lambda record: probe(record, "energy").get("scope"), group="Energy",
    ),
    Text(
        "energy_throttle", "why the GPU held its clocks down during the windows, or none", _throttle,
        group="Energy",
    ),
)  # fmt: skip


def state(when: str, name: str) -> Callable[[Record], Value]:
    """A number of the device's state `before` or `after` the windows."""

    def value(record: Record) -> Value:
        return number((probe(record, "energy").get(f"state_{when}") or {}).get(name))

    return value


def other_processes(record: Record) -> Value:
    """The most that were seen at either end; None where the source cannot tell."""
    seen = [state(when, "other_processes")(record) for when in ("before", "after")]
    return max((count for count in seen if count is not None), default=None)


def sampling_share(record: Record) -> Value:
    """Seconds spent on samples over seconds of work, all windows."""
    cost_s = sum(sum(part.get("sampling_s", ())) for part in _parts(record))
    work_s = sum(sum(part.get("work_s", ())) for part in _parts(record))
    return cost_s / work_s if work_s else None


def _parts(record: Record) -> Iterator[Mapping[str, Any]]:
    found = probe(record, "energy")
    return (found[name] for name in ("prefill", "decode") if found.get(name))

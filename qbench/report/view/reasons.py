"""Reasons of null numbers in words, for the probes' codes."""

from __future__ import annotations

_CPU = {
    "no_driver": "this machine or its kernel has no RAPL counter",
    "not_supported": "the RAPL counter cannot be read or stands still",
    "no_permission": "only root may read the RAPL counter",
}
_ANY = {
    "no_driver": "no NVIDIA driver or library",
    "not_supported": "the GPU has neither an energy counter nor instant power, or its counter stands still",
    "no_permission": "this user may not read the GPU's energy counter",
    "mig": "the energy counter knows only the whole GPU, and MIG is on",
    "window_too_long": "a step of the work outlasts a wrap of the energy counter",
    "window_too_short": "the window is too short for the energy counter; raise energy.min_window_s",
}
"""Codes of `qbench.probes.energy.measure.meter.Reason`."""


def in_words(reason: str, device: str | None) -> str:
    """A code's meaning on that device; any other text as it is, without the signs of code."""
    words = _CPU.get(reason) if device == "cpu" else None
    return words or _ANY.get(reason) or reason.replace("`", "")

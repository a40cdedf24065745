"""Kernels and their claims as rows of JSON values, for `qbench list kernels` and `qbench doctor`."""

from __future__ import annotations

import dataclasses

from qbench.json_object import JsonObject
from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.registry import registered

UNLISTED = {"run", "prepare", "restore", "choices", "cuda_capability"}
"""Fields of a kernel that are no condition, or that stand in a row in another form."""


def kernel_rows() -> list[JsonObject]:
    """Every kernel with its conditions, whether this machine can run it, and why not; broken plugins last."""
    registry = registered()
    rows = [_kernel_row(entry, registry.sources[entry.name]) for entry in registry.kernels]
    for plugin in registry.broken:
        summary = "a plugin that cannot be loaded"
        empty = Kernel(plugin.name, summary, (), (), (), (), (), (), run=lambda layer, prepared, x: x)
        row = _kernel_row(empty, plugin.source)
        rows.append({**row, "available": False, "reason": plugin.reason})
    return rows


def choice_rows() -> list[JsonObject]:
    """Every claim in the order in which they are tried: the first one that fits is taken."""
    registry = registered()
    return [_choice_row(choice, entry, registry.sources[entry.name]) for choice, entry in registry.choices]


def _kernel_row(entry: Kernel, source: str) -> JsonObject:
    reasons = [entry.missing(device) for device in entry.devices]
    available = None in reasons
    names = [field.name for field in dataclasses.fields(entry) if field.name not in UNLISTED]
    values = {name: getattr(entry, name) for name in names}
    return {
        **{name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
        "source": source,
        "available": available,
        "reason": None if available or not reasons else reasons[0],
    }


def _choice_row(choice: Choice, entry: Kernel, source: str) -> JsonObject:
    ends = [end for end in (choice.max_rows, entry.max_rows) if end]
    least = entry.cuda_capability
    capability = [f"capability {least[0]}.{least[1]}"] if any(least) else []
    return {
        "rank": choice.rank,
        "format": _format(entry),
        "devices": list(entry.devices),
        "needs": [*entry.needs, *choice.present, *(f"no {word}" for word in choice.absent), *capability],
        "min_rows": max(choice.min_rows, entry.min_rows),
        "max_rows": min(ends, default=None),
        "kernel": entry.name,
        "why": choice.why,
        "source": source,
    }


def _format(entry: Kernel) -> str:
    """Formats that the kernel runs, in short: `int 2–8 × int8; tensor/channel; bf16/fp32`."""
    bits = "–".join(str(bits) for bits in sorted({min(entry.num_bits), max(entry.num_bits)}))
    whole = entry.codes == ("int",)
    rounded = "" if entry.activations == ("none",) else " × int8" if whole else " × fp8"
    code = (f"int {bits}" if whole else "/".join(entry.codes)) + rounded + ", outliers" * entry.outliers
    return "; ".join([code, "/".join(entry.strategies), "/".join(entry.dtypes)])

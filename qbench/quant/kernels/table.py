"""The choice of a kernel for a layer and a number of rows.

Each kernel claims rows and machines in its own file (`Kernel.choices`), and `qbench list kernels --choices`
prints the claims in the order in which they are tried. Each format has a last one that runs all of it.
`tests/benchmarks/test_kernels.py` draws the curves behind the thresholds again and checks them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from qbench.errors import KernelError
from qbench.quant.kernels.base.kernel import Kernel
from qbench.quant.kernels.base.machine import features
from qbench.quant.kernels.base.spec import LinearSpec
from qbench.quant.kernels.registry import kernel, registered


class Planned(NamedTuple):
    """The kernel of a range of rows."""

    first: int
    last: int | None
    """None: any number from `first` on."""
    kernel: Kernel
    reason: str | None
    """Reason why it is not the kernel asked for; None where it is, or for `auto`."""


def fastest(spec: LinearSpec, rows: int, dtype: str, device: torch.device) -> Kernel:
    """The kernel of the first claim that holds. KernelError where none does, as on an unknown device."""
    words = features("cuda" if device.type == "cuda" else "cpu")
    for choice, entry in registered().choices:
        if choice.holds(rows, words) and entry.why_not(spec, dtype, device, rows) is None:
            return entry
    raise KernelError(f"no kernel runs {spec} in {dtype} on {device}; use a cpu or cuda device")


def choose(
    spec: LinearSpec, rows: int, dtype: str, device: torch.device, layer: str
) -> tuple[Kernel, str | None]:
    """The kernel that runs these rows, and why it is not the one asked for (None where it is, or `auto`).

    Raises KernelError naming layer, condition and way out where the one asked for cannot run and the spec
    allows no fallback.
    """
    if spec.kernel == "auto":
        return fastest(spec, rows, dtype, device), None
    asked = kernel(spec.kernel)
    against = asked.why_not(spec, dtype, device, rows)
    if against is None:
        return asked, None
    if not spec.allow_fallback:
        raise KernelError(
            f"layer {layer or 'without a name'}: kernel {asked.name} cannot run it: {against}. "
            "Ask for kernel auto, set allow_fallback, or exclude the layer"
        )
    return fastest(spec, rows, dtype, device), f"{asked.name}: {against}"


def plan(spec: LinearSpec, dtype: str, device: torch.device, layer: str) -> list[Planned]:
    """The kernels of all row counts from 1 on, in ranges without gaps."""
    starts = registered().starts
    ranges: list[Planned] = []
    for index, start in enumerate(starts):
        entry, reason = choose(spec, start, dtype, device, layer)
        end = starts[index + 1] - 1 if index + 1 < len(starts) else None
        if ranges and ranges[-1].kernel is entry and ranges[-1].reason == reason:
            start = ranges.pop().first
        ranges.append(Planned(start, end, entry, reason))
    return ranges

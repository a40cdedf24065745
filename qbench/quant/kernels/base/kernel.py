"""`Kernel`: one way to run a quantized layer; its conditions and its place in the choice are plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from qbench.quant.formats.weight import Activations, Strategy
from qbench.quant.kernels.base.machine import FEATURES, cuda_capability, features
from qbench.quant.kernels.base.spec import DTYPES, Code, LinearSpec, Operand, Zero

Prepare = Callable[[Operand], tuple[Tensor, ...]]
Run = Callable[[Operand, tuple[Tensor, ...], Tensor], Tensor]
Restore = Callable[[Operand, tuple[Tensor, ...]], Tensor]


WIDTHS = (2, 3, 4, 5, 6, 7, 8)
"""Every number of bits that integer codes are stored in."""


def nothing_to_prepare(layer: Operand) -> tuple[Tensor, ...]:
    return ()


@dataclass(frozen=True)
class Choice:
    """A claim to be the fastest kernel for a range of rows on some machines.

    Claims are tried from the lowest rank on, those of one rank by the name of their kernel. The first one
    whose rows and machine fit, and whose kernel can run the layer, is taken.
    """

    rank: int
    """Position among all claims. Built-in ones are multiples of ten, so that others fit between them; 0 is
    tried before all of them."""
    why: str
    """Measurement behind the claim and its rows, or the statement that there is none."""
    present: tuple[str, ...] = ()
    """Words of `machine.FEATURES` that must hold, beside those that the kernel needs anyway."""
    absent: tuple[str, ...] = ()
    """Words of `machine.FEATURES` that must not hold."""
    min_rows: int = 1
    max_rows: int | None = None

    def holds(self, rows: int, words: frozenset[str]) -> bool:
        """True where the rows and the machine's features are those of the claim."""
        here = words.issuperset(self.present) and words.isdisjoint(self.absent)
        return here and self.min_rows <= rows <= (self.max_rows or rows)


@dataclass(frozen=True)
class Kernel:
    """Conditions, then functions, then claims. A layer can run on it when `why_not` finds no objection.

    A kernel's file lists it in `KERNELS`, a third party's package in the entry-point group `qbench.kernels`.
    """

    name: str
    summary: str
    devices: tuple[str, ...]
    activations: tuple[Activations, ...]
    num_bits: tuple[int, ...]
    strategies: tuple[Strategy, ...]
    zeros: tuple[Zero, ...]
    dtypes: tuple[str, ...]
    """Dtypes of the activations."""
    run: Run
    """(layer, prepared, x of shape (M, K), contiguous) → (M, N)."""
    codes: tuple[Code, ...] = ("int",)
    outliers: bool = False
    """True: it runs layers with outlier columns, and no others."""
    needs: tuple[str, ...] = ()
    """Words of `machine.FEATURES`."""
    cuda_capability: tuple[int, int] = (0, 0)
    """Lowest compute capability, on CUDA."""
    group_sizes: tuple[int, ...] | None = None
    """Group sizes for strategy group; None: any."""
    scale_dtypes: tuple[str, ...] | None = None
    """Dtypes of the stored scales; None: any."""
    min_rows: int = 1
    max_rows: int | None = None
    min_in_features: int = 1
    in_multiple: int = 1
    """Divisor of K."""
    out_multiple: int = 1
    """Divisor of N."""
    prepare: Prepare = nothing_to_prepare
    restore: Restore | None = None
    """Inverse of `prepare`, whose tensors then replace the layer's codes in memory; it returns the codes."""
    choices: tuple[Choice, ...] = ()
    """Rows and machines for which it is the fastest; empty: it runs only where it is asked for by name."""

    def __post_init__(self) -> None:
        for field, given, known in (
            ("devices", self.devices, ("cpu", "cuda")),
            ("activations", self.activations, get_args(Activations)),
            ("num_bits", self.num_bits, WIDTHS),
            ("strategies", self.strategies, get_args(Strategy)),
            ("zeros", self.zeros, get_args(Zero)),
            ("dtypes", self.dtypes, tuple(DTYPES)),
            ("codes", self.codes, get_args(Code)),
            ("needs", self.needs, tuple(FEATURES)),
        ):
            if not isinstance(given, tuple) or not set(given) <= set(known):
                words = ", ".join(map(repr, known))
                raise ValueError(
                    f"kernel {self.name!r}: {field} = {given!r}; a tuple of words out of {words}"
                )

    def missing(self, device: str) -> str | None:
        """The first feature that this machine lacks to run any layer on `cpu` or `cuda`, or None."""
        if device not in self.devices:
            return f"runs on {' and '.join(self.devices)}"
        if device == "cuda" and "cuda" not in features("cuda"):
            return f"needs {FEATURES['cuda']}"
        for word in self.needs:
            if word not in features(device):
                return f"needs {FEATURES[word]}"
        return None

    def why_not(
        self, spec: LinearSpec, dtype: str, device: torch.device, rows: int | None = None
    ) -> str | None:
        """The first condition that a layer fails here, or None; `rows=None` leaves the row count open."""
        lacks = self.missing(device.type)
        if lacks:
            return lacks
        if device.type == "cuda" and cuda_capability(device.index or 0) < self.cuda_capability:
            return f"needs compute capability {self.cuda_capability[0]}.{self.cuda_capability[1]}"
        for what, value, allowed in (
            ("code", spec.code, self.codes),
            ("activations", spec.activations, self.activations),
            ("num_bits", spec.num_bits, self.num_bits),
            ("strategy", spec.strategy, self.strategies),
            ("zero", spec.zero, self.zeros),
            ("dtype", dtype, self.dtypes),
            ("group_size", spec.group_size, None if spec.strategy != "group" else self.group_sizes),
            ("scale dtype", spec.scale_dtype, self.scale_dtypes),
        ):
            if allowed is not None and value not in allowed:
                return f"{what} is {value}, it takes {', '.join(map(str, allowed))}"
        if (spec.threshold is not None) != self.outliers:
            return f"it takes {'only' if self.outliers else 'no'} layers with outlier columns"
        if spec.in_features < self.min_in_features:
            return f"in_features {spec.in_features} is below {self.min_in_features}"
        for what, size, multiple in (
            ("in_features", spec.in_features, self.in_multiple),
            ("out_features", spec.out_features, self.out_multiple),
        ):
            if size % multiple:
                return f"{what} {size} is no multiple of {multiple}"
        if rows is not None and not self.min_rows <= rows <= (self.max_rows or rows):
            return f"{rows} rows, it takes {self.min_rows} to {self.max_rows or 'any'}"
        return None

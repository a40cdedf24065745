"""HQQ: half-quadratic quantization, asymmetric with a float zero that is optimised without any data.

The scale comes from the raw range of a group; twenty alternating steps seek the zero that makes the weights'
own error small in an lp norm (Badri and Shaji, 2023; the `hqq` package): `qbench/quant/algorithms/hqq.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench import Layer, Method
from qbench.quant import checked_group_size

if TYPE_CHECKING:
    from torch import Tensor

    from qbench import AffineWeight


@dataclass(frozen=True)
class HQQ(Method):
    """Half-quadratic quantization; scales and zeros stand in the model's dtype and codes follow them."""

    num_bits: int = 4
    """2 … 8."""
    strategy: Literal["channel", "group"] = "group"
    """Weights that share a scale and a zero: an output row, or `group_size` inputs of a row."""
    group_size: int | None = None
    """Inputs that share a scale; only for strategy group, where it is 64 unless given."""
    axis: Literal[0, 1] = 1
    """1: groups run along the inputs of a row. 0: along the outputs, `group_size` rows of a column; needs
    strategy group, and runs by dequantization alone."""
    lp_norm: float = 0.7
    """p of the norm, above 0 and at most 1."""
    beta: float = 10.0
    """Weight of the quadratic term at the first step."""
    kappa: float = 1.01
    """Growth of beta from step to step; the package's default solver leaves it at 1."""
    iterations: int = 20
    """Zeros that are tried after round to nearest's; the best one is kept."""

    def __post_init__(self) -> None:
        size = checked_group_size(self.num_bits, self.strategy, self.group_size, "none")
        object.__setattr__(self, "group_size", size)
        if self.axis == 0 and self.strategy != "group":
            raise ValueError(f"axis = 0 needs strategy group; this is {self.strategy}")
        if not 0 < self.lp_norm <= 1:
            raise ValueError(f"lp_norm = {self.lp_norm}: it lies above 0, up to 1")
        if self.beta <= 0 or self.kappa < 1:
            raise ValueError(f"beta = {self.beta}, kappa = {self.kappa}: beta is positive, kappa at least 1")
        if self.iterations < 1:
            raise ValueError(f"iterations = {self.iterations}: at least 1; 0 is method zeropoint, zero float")

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        from qbench.quant import affine, hqq

        solver = hqq.Solver(self.num_bits, self.lp_norm, self.beta, self.kappa, self.iterations)
        along = weight if self.axis == 1 else weight.t()
        groups = affine.grouped(along, self.strategy, self.group_size, layer.name)
        made = hqq.quantize(groups, solver, weight.dtype)
        codes, scale, zero = made[0].reshape(along.shape), made[1], made[2]
        if self.axis == 0:
            codes, scale, zero = (part.t().contiguous() for part in (codes, scale, zero))
        return affine.AffineWeight(codes, scale, zero, self.num_bits, self.group_size, axis=self.axis)

"""GPTQ: column after column is rounded, and the columns to come are moved to cancel its error.

Frantar et al., arXiv 2210.17323. The rounding error is weighed by H = 2/n · Σ x xᵀ of the layer's inputs on
the calibration text; see `qbench.quant.algorithms.gptq` for the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench import Layer, Method
from qbench.quant import checked_group_size

if TYPE_CHECKING:
    from torch import Tensor

    from qbench import AffineWeight
    from qbench.quant import Statistic


@dataclass(frozen=True)
class GPTQ(Method):
    """Second-order rounding; scales stand in the model's dtype and codes follow the rounded ones."""

    num_bits: int = 4
    """2 … 8."""
    strategy: Literal["channel", "group"] = "group"
    """Weights that share a scale: an output row, or `group_size` inputs of a row."""
    group_size: int | None = None
    """Inputs that share a scale; only for strategy group, where it is 64 unless given."""
    symmetric: bool = False
    """Zero in the middle of the codes and scale 2·max|w| / (2^b − 1), or an integer zero point."""
    range: Literal["minmax", "mse"] = "minmax"
    """Range that the codes cover: everything, or the range of least error (L2.4 norm)."""
    act_order: bool = True
    """Columns of the largest inputs first, while other columns are left to cancel their error in."""
    static_groups: bool = True
    """Groups are runs of neighbouring columns, with scales taken before any column is rounded. False: scales
    are taken when a group is reached; beside act_order groups are then runs in that order, which the layer
    stores and gathers its inputs by."""
    true_sequential: bool = False
    """Layers of a block see the outputs of those quantized before them, not of the unquantized ones; takes
    half as long again, and was better on one of the built-in models and worse on the other."""
    damp: float = 0.01
    """Added to the diagonal of H, as a share of its mean; ten times as much where H is still singular."""
    block_size: int = 128
    """Columns between two updates of the rest; changes the time taken, and codes by rounding only."""

    def __post_init__(self) -> None:
        size = checked_group_size(self.num_bits, self.strategy, self.group_size, "none")
        object.__setattr__(self, "group_size", size)
        if not 0 <= self.damp <= 1:
            raise ValueError(f"damp = {self.damp}: it lies in 0 … 1")
        if self.block_size < 1:
            raise ValueError(f"block_size = {self.block_size}: it is at least 1")
        if self.strategy == "channel" and not self.static_groups:
            raise ValueError("static_groups false has no meaning for strategy 'channel'; leave it out")

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return ("hessian",)

    @property
    def one_by_one(self) -> bool:
        return self.true_sequential

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        from qbench.quant import gptq

        grid = gptq.Grid(self.num_bits, self.strategy, self.group_size, self.symmetric, self.range)
        turns = gptq.Turns(self.act_order, self.static_groups, self.damp, self.block_size)
        return gptq.quantize(weight, layer, grid, turns)

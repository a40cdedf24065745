"""INT4: grouped round to nearest in 4 bits, the weight-only baseline that GPTQ and AWQ are measured against.

Symmetric with the full range is W4A16 of compressed-tensors and GPTQ's `sym`: s = 2·amax/15, codes −8 … 7.
Asymmetric is GPTQ without `sym` and torchao's integer zero: the range holds 0 and the zero is a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench import Layer, Method
from qbench.quant import checked_group_size, checked_percentile

if TYPE_CHECKING:
    from torch import Tensor

    from qbench import AffineWeight


@dataclass(frozen=True)
class Int4(Method):
    """Weight-only 4 bits; scales stand in the model's dtype and codes follow the rounded ones."""

    strategy: Literal["channel", "group"] = "group"
    """Weights that share a scale: an output row, or `group_size` inputs of a row."""
    group_size: int | None = None
    """Inputs that share a scale; only for strategy group, where it is 64 unless given."""
    symmetric: bool = True
    """Zero in the middle of the codes, as in W4A16 and GPTQConfig. False: a zero, a code of 4
    bits, for each scale."""
    scale_range: Literal["restricted", "full"] | None = None
    """Symmetric only, where it is `full` unless given: 2·amax/15, or `restricted`: amax/7."""
    range: Literal["minmax", "percentile", "mse"] = "minmax"
    """Range that the codes cover: everything, all but the outermost weights, or the range of least error."""
    percentile: float | None = None
    """Only for range percentile, where it is 99.9 unless given."""

    def __post_init__(self) -> None:
        size = checked_group_size(4, self.strategy, self.group_size, "none")
        object.__setattr__(self, "group_size", size)
        object.__setattr__(self, "percentile", checked_percentile(self.range, self.percentile))
        if not self.symmetric and self.scale_range is not None:
            raise ValueError(f"scale_range = {self.scale_range!r} has no meaning for symmetric false")
        if self.symmetric and self.scale_range is None:
            object.__setattr__(self, "scale_range", "full")

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        from qbench.quant import affine, ranges

        groups = affine.grouped(weight, self.strategy, self.group_size, layer.name)
        zero = None
        if self.scale_range is None:
            scale, zero = ranges.asymmetric(groups, 4, "integer", weight.dtype, self.range, self.percentile)
            codes = affine.codes(groups, scale, zero, 0, 15)
        else:
            scale = ranges.symmetric(groups, 4, self.scale_range, weight.dtype, self.range, self.percentile)
            codes = affine.codes(groups, scale, 8.0, 1 if self.scale_range == "restricted" else 0, 15)
        return affine.AffineWeight(
            codes=codes.reshape(weight.shape), scale=scale, zero=zero, num_bits=4, group_size=self.group_size
        )

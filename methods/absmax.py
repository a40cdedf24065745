"""Absmax: symmetric round to nearest, w ≈ c·s with s = max|w| / steps.

`restricted` has steps = 2^(b−1) − 1 and codes in ±steps (bitsandbytes, SmoothQuant, quanto); `full` has
steps = (2^b − 1)/2 and codes from −2^(b−1), and clips +max by half a step (GPTQ, torchao).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench import Layer, Method
from qbench.quant import checked_group_size, checked_percentile

if TYPE_CHECKING:
    from torch import Tensor

    from qbench import AffineWeight
    from qbench.quant import Statistic


@dataclass(frozen=True)
class Absmax(Method):
    """Symmetric round to nearest; scales stand in the model's dtype and codes follow the rounded ones."""

    num_bits: int = 8
    """2 … 8."""
    strategy: Literal["tensor", "channel", "group"] = "channel"
    """Weights that share a scale: the whole weight, an output row, or `group_size` inputs of a row."""
    group_size: int | None = None
    """Inputs that share a scale; only for strategy group, where it is 64 unless given."""
    scale_range: Literal["restricted", "full"] = "restricted"
    """Codes symmetric about zero, or the whole two's-complement range."""
    range: Literal["minmax", "percentile", "mse"] = "minmax"
    """Range that the codes cover: everything, all but the outermost weights, or the range of least error."""
    percentile: float | None = None
    """Only for range percentile, where it is 99.9 unless given."""
    activations: Literal["none", "dynamic", "static"] = "none"
    """Activations become int8 too, symmetric: `dynamic` a scale a token, `static` one a layer, calibrated.
    Needs 8 bits, strategy tensor or channel."""

    def __post_init__(self) -> None:
        size = checked_group_size(self.num_bits, self.strategy, self.group_size, self.activations)
        object.__setattr__(self, "group_size", size)
        object.__setattr__(self, "percentile", checked_percentile(self.range, self.percentile))

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return ("range",) if self.activations == "static" else ()

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        from qbench.quant import affine, ranges, static_scales

        groups = affine.grouped(weight, self.strategy, self.group_size, layer.name)
        scale = ranges.symmetric(
            groups, self.num_bits, self.scale_range, weight.dtype, self.range, self.percentile
        )
        middle = 2 ** (self.num_bits - 1)
        lowest = 1 if self.scale_range == "restricted" else 0
        codes = affine.codes(groups, scale, float(middle), lowest, 2 * middle - 1)
        return affine.AffineWeight(
            codes=codes.reshape(weight.shape),
            scale=scale,
            zero=None,
            num_bits=self.num_bits,
            group_size=self.group_size,
            activations=self.activations,
            input_scale=static_scales.int8_scale(layer, self.activations, weight.device),
        )

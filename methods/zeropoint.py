"""Zero-point: asymmetric round to nearest, w ≈ (q − z)·s with s = (max − min) / (2^b − 1).

With `zero_in_range` the range is widened to hold 0, which is then exact (GPTQ, torchao,
compressed-tensors); without it the range is the raw minimum and maximum (HQQ, tinygemm).
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
class ZeroPoint(Method):
    """Asymmetric round to nearest; scales and float zeros are in the model's dtype, codes follow them."""

    num_bits: int = 8
    """2 … 8."""
    strategy: Literal["tensor", "channel", "group"] = "channel"
    """Weights that share a scale and a zero: all, an output row, or `group_size` inputs of a row."""
    group_size: int | None = None
    """Inputs that share a scale; only for strategy group, where it is 64 unless given."""
    zero_in_range: bool = True
    """Widen the range to hold 0. False needs zero float: wherever the raw range leaves 0 out, its integer
    zero is no code, and where it holds 0 both settings are the same."""
    zero: Literal["integer", "float"] = "integer"
    """`integer`: a code of num_bits bits. `float`: in units of codes, in the model's dtype."""
    range: Literal["minmax", "percentile", "mse"] = "minmax"
    """Range that the codes cover: everything, all but the outermost weights, or the range of least error."""
    percentile: float | None = None
    """Only for range percentile, where it is 99.9 unless given."""
    activations: Literal["none", "dynamic", "static"] = "none"
    """Activations become int8 too, symmetric: `dynamic` a scale a token, `static` one a layer, calibrated.
    Needs 8 bits, strategy tensor or channel."""

    def __post_init__(self) -> None:
        if self.zero == "integer" and not self.zero_in_range:
            raise ValueError("an integer zero needs zero_in_range true; for the raw range say zero: float")
        size = checked_group_size(self.num_bits, self.strategy, self.group_size, self.activations)
        object.__setattr__(self, "group_size", size)
        object.__setattr__(self, "percentile", checked_percentile(self.range, self.percentile))

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return ("range",) if self.activations == "static" else ()

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        from qbench.quant import affine, ranges, static_scales

        groups = affine.grouped(weight, self.strategy, self.group_size, layer.name)
        rule = (self.range, self.percentile, self.zero_in_range)
        scale, zero = ranges.asymmetric(groups, self.num_bits, self.zero, weight.dtype, *rule)
        codes = affine.codes(groups, scale, zero, 0, 2**self.num_bits - 1)
        return affine.AffineWeight(
            codes=codes.reshape(weight.shape),
            scale=scale,
            zero=zero,
            num_bits=self.num_bits,
            group_size=self.group_size,
            activations=self.activations,
            input_scale=static_scales.int8_scale(layer, self.activations, weight.device),
        )

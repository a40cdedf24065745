"""FP8: weights as 8-bit floats, w ≈ c·s with s = max|w| over the format's largest value (arXiv 2209.05433).

Activations may be rounded to E4M3 as well, with a scale a token (`dynamic`) or one a layer from the
calibration text (`static`). A GPU of compute capability 8.9 or newer multiplies the codes themselves;
anywhere else they are made float first, with the same rounding: the quality is the method's, not the speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench import Layer, Method

if TYPE_CHECKING:
    from torch import Tensor

    from qbench.quant import Fp8Weight, Statistic


@dataclass(frozen=True)
class Fp8(Method):
    """8-bit floats, rounded to nearest; scales stand in float32."""

    format: Literal["e4m3", "e5m2"] = "e4m3"
    """`e4m3`: 3 bits of fraction, up to 448. `e5m2`: 2 bits, up to 57344."""
    strategy: Literal["tensor", "channel", "block"] = "channel"
    """Weights that share a scale: the whole weight, an output row, or a block of 128 × 128."""
    activations: Literal["none", "dynamic", "static"] = "none"
    """Activations become E4M3 too: `dynamic` with a scale a token, `static` with one a layer, calibrated."""

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return ("range",) if self.activations == "static" else ()

    def quantize_layer(self, weight: Tensor, layer: Layer) -> Fp8Weight:
        from qbench.quant import fp8, static_scales

        scale = fp8.absmax_scale(weight, self.strategy, fp8.LARGEST[self.format], layer.name)
        block_size = fp8.BLOCK if self.strategy == "block" else None
        input_scale = None
        if self.activations == "static":
            steps = fp8.LARGEST[fp8.ACTIVATION_FORMAT]
            input_scale = static_scales.static_scale(layer, steps, weight.device)
        return fp8.Fp8Weight(
            codes=fp8.codes(weight, scale, block_size, self.format),
            scale=scale,
            block_size=block_size,
            activations=self.activations,
            input_scale=input_scale,
        )

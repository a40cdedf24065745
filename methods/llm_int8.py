"""LLM.int8(): int8 × int8, with the few input columns that hold outliers in 16 bit (arXiv 2208.07339).

Columns that reach the threshold on the calibration text keep their unquantized weights; a further one that
reaches it at run time leaves the int8 product too, with its weights as int8 holds them. bitsandbytes finds
all of them at run time and dequantizes their weights: `outlier_weights: dequantized`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qbench import Layer, Method

if TYPE_CHECKING:
    from torch import Tensor

    from qbench import AffineWeight
    from qbench.quant import Statistic


@dataclass(frozen=True)
class LlmInt8(Method):
    """Vector-wise int8, a scale a token and a row of the weight, beside columns of outliers in 16 bit."""

    threshold: float = 6.0
    """Magnitude of an input that makes its column an outlier; above 0. In bitsandbytes 0 stands for none:
    that is `absmax` with dynamic activations, and has no second name here."""
    outlier_weights: Literal["original", "dequantized"] = "original"
    """`original`: as the paper writes it, from a calibration text. `dequantized`: as bitsandbytes runs it,
    without one."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold < math.inf:
            raise ValueError(
                f"threshold = {self.threshold}: it is above 0; for int8 without outlier columns use method "
                "absmax with activations: dynamic"
            )

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return ("columns",) if self.outlier_weights == "original" else ()

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        from qbench.quant import llm_int8

        return llm_int8.quantize(weight, layer, self.threshold, self.outlier_weights == "original")

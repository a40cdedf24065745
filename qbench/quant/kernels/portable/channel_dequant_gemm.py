"""Tiles of exact integers in a float GEMM, one scale a row applied to its output.

Code minus zero is an integer below 2^8, exact in bf16 and float32, so the GEMM sees exact weights and
accumulates in float32. In bf16 compiled code fills the tiles where there is a compiler: the same values in a
fraction of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import WIDTHS, Choice, Kernel
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.shared.activations import rounded_activations
from qbench.quant.kernels.shared.codes import stored_codes
from qbench.quant.kernels.shared.output import scale_columns
from qbench.quant.kernels.shared.tiles import compiled, subtract_zero, tiled_gemm


def prepare_channel(layer: Operand) -> tuple[Tensor, ...]:
    """Tensors for `native.expand`: codes minus zero; none where compiled code cannot fill tiles."""
    return native.describe(layer, exact=True) if compiled(layer) else ()


def run_channel(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); strategies tensor and channel, symmetric or integer zero, bf16 or float32."""
    filled = bool(prepared) and x.dtype == torch.bfloat16
    zeros = None if filled else layer.zeros()

    def fill(first: int, last: int, tile: Tensor) -> None:
        if filled:
            native.expand(layer, prepared[0], first, last, tile)
            return
        tile.copy_(stored_codes(layer, first, last))
        subtract_zero(layer, zeros, first, last, tile)

    out = tiled_gemm(layer, rounded_activations(layer, x), fill, None)
    return scale_columns(out, layer.scale.view(1, -1), layer.bias)


KERNELS = (
    Kernel(
        name="channel_dequant_gemm",
        summary="codes made float by tiles, exactly; float GEMM; scale on its output",
        devices=("cpu", "cuda"), activations=("none", "dynamic", "static"), num_bits=WIDTHS,
        strategies=("tensor", "channel"), zeros=("none", "integer"), dtypes=("bf16", "fp32"),
        prepare=prepare_channel, run=run_channel,
        choices=(Choice(140, "O(N·K) for the tiles beside the GEMM's O(M·N·K)"),),
    ),
)  # fmt: skip

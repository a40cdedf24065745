"""int8 × int8 through oneDNN, `onednn.qlinear_pointwise`: int32 sums, exact.

Activations go in as uint8 with zero 128: as int8 they would run a scalar reference, 300 times slower. On a
CPU whose int8 products saturate (no VNNI, no AMX) sums are wrong: `machine.exact_int8` keeps it off there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.packing import pack
from qbench.quant.kernels.base.kernel import WIDTHS, Choice, Kernel
from qbench.quant.kernels.base.spec import Operand, channel_scale
from qbench.quant.kernels.shared.activations import ROWS, quantized_rows
from qbench.quant.kernels.shared.codes import row_sums, signed_codes, zero_correction
from qbench.quant.kernels.shared.output import finish_rows

ACTIVATION_ZERO = 128
"""Code that stands for zero in uint8 activations."""

WEIGHT_ZERO = torch.zeros(1, dtype=torch.int64)
"""The GEMM's own weight zero: prepacked codes are signed, and what is left is corrected on the output."""


def prepare_onednn(layer: Operand) -> tuple[Tensor, ...]:
    """Prepacked codes, channel scales float32 (N), zero correction (N) if any."""
    packed = torch.ops.onednn.qlinear_prepack(signed_codes(layer), None)
    scale = channel_scale(layer)
    return (packed, scale, *zero_correction(layer, scale))


def restore_onednn(layer: Operand, prepared: tuple[Tensor, ...]) -> Tensor:
    """The codes as the layer stores them, out of the prepacked ones; exact."""
    signed: Tensor = prepared[0].to_dense().t().contiguous()
    spec = layer.spec
    return (
        signed
        if spec.num_bits == 8
        else pack((signed.to(torch.int16) + spec.half).to(torch.uint8), spec.num_bits)
    )


def run_onednn(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) of any float dtype → (M, N); strategies tensor and channel."""
    packed, scale, *zero = prepared
    symmetric = not zero
    if x.shape[0] == 1 and symmetric and x.dtype != torch.float16:
        # A single token's scale is the GEMM's own: everything in one call.
        codes, row_scale = quantized_rows(layer, x, ACTIVATION_ZERO, torch.uint8)
        bias = None if layer.bias is None else layer.bias.to(torch.float32)
        return qlinear(codes, row_scale.item(), packed, scale, bias, x.dtype)
    out = torch.empty(x.shape[0], scale.shape[0], dtype=x.dtype)
    for first in range(0, x.shape[0], ROWS):
        codes, row_scale = quantized_rows(layer, x[first : first + ROWS], ACTIVATION_ZERO, torch.uint8)
        sums = None if symmetric else row_sums(codes, ACTIVATION_ZERO)
        products = qlinear(codes, 1.0, packed, scale, None, torch.float32)
        correction = None if symmetric else zero[0]
        finish_rows(products, row_scale, sums, correction, layer.bias, out[first : first + ROWS])
    return out


def qlinear(
    codes: Tensor,
    scale: float,
    packed: Tensor,
    channel_scale: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """Codes uint8 (M, K), zero at ACTIVATION_ZERO, times a prepacked weight and its scales: (M, N)."""
    activations = (codes, scale, ACTIVATION_ZERO)
    weight = (packed, channel_scale, WEIGHT_ZERO)
    unscaled = (1.0, 0, dtype)  # the output stays float
    alone: tuple[str, list[float], str] = ("none", [], "")  # no operation follows
    out: Tensor = torch.ops.onednn.qlinear_pointwise(*activations, *weight, bias, *unscaled, *alone)
    return out


KERNELS = (
    Kernel(
        name="int8_onednn",
        summary="int8 × int8 with rounded activations, exact int32 sums, prepacked weight",
        devices=("cpu",), activations=("dynamic", "static"), num_bits=WIDTHS,
        strategies=("tensor", "channel"), zeros=("none", "integer", "float"), dtypes=("bf16", "fp16", "fp32"),
        needs=("onednn", "exact_int8"), prepare=prepare_onednn, run=run_onednn, restore=restore_onednn,
        choices=(Choice(10, "ahead of bf16 at every row count that was measured, 1 to 2048"),),
    ),
)  # fmt: skip

"""int8 × int8 through `torch._int_mm`: the arithmetic of int8_onednn, for a torch without its operators."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand, channel_scale
from qbench.quant.kernels.shared.activations import ROWS, quantized_rows
from qbench.quant.kernels.shared.codes import row_sums, stored_codes, zero_correction
from qbench.quant.kernels.shared.output import finish_rows


def prepare_int_mm(layer: Operand) -> tuple[Tensor, ...]:
    """Channel scales float32 (N), zero correction (N) or none."""
    scale = channel_scale(layer)
    return (scale, *zero_correction(layer, scale))


def run_int_mm(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor, least_rows: int = 16) -> Tensor:
    """x (M, K) of any float dtype → (M, N); 8 bits. Fewer rows than `least_rows` are padded with zeros."""
    scale, *zero = prepared
    weight = stored_codes(layer, 0, layer.spec.out_features).t()
    out = torch.empty(x.shape[0], scale.shape[0], dtype=x.dtype, device=x.device)
    for first in range(0, x.shape[0], ROWS):
        block = x[first : first + ROWS]
        codes, row_scale = quantized_rows(layer, block, 0, torch.int8)
        missing = max(0, least_rows - block.shape[0])
        padded = torch.nn.functional.pad(codes, (0, 0, 0, missing)) if missing else codes
        products = torch._int_mm(padded, weight)[: block.shape[0]].to(torch.float32).mul_(scale)
        sums = row_sums(codes, 0) if zero else None
        correction = zero[0] if zero else None
        finish_rows(products, row_scale, sums, correction, layer.bias, out[first : first + ROWS])
    return out


KERNELS = (
    Kernel(
        name="int8_int_mm",
        summary="int8 × int8 with rounded activations, exact int32 sums, torch._int_mm",
        devices=("cpu",), activations=("dynamic", "static"), num_bits=(8,), strategies=("tensor", "channel"),
        zeros=("none", "integer", "float"), dtypes=("bf16", "fp16", "fp32"), needs=("exact_int8",),
        min_in_features=2,  # with one, torch 2.13 returns uninitialised memory
        prepare=prepare_int_mm,
        run=run_int_mm,
        choices=(Choice(60, "the only int8 product without oneDNN's operators; not measured"),),
    ),
)  # fmt: skip

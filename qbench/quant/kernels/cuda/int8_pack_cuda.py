"""Weight-only int8 on a GPU through `_weight_int8pack_mm` (torch 2.8 and newer); only by name.

torch's kernel is one thread an output in float32: exact, few registers, no reuse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.base.kernel import Kernel
from qbench.quant.kernels.base.spec import Operand, channel_scale
from qbench.quant.kernels.shared.codes import stored_codes


def prepare_pack_cuda(layer: Operand) -> tuple[Tensor, ...]:
    """Channel scales, float32 (N)."""
    return (channel_scale(layer),)


def run_pack_cuda(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) of any float dtype → (M, N); 8 bits, symmetric, strategies tensor and channel."""
    codes = stored_codes(layer, 0, layer.spec.out_features)
    out = torch._weight_int8pack_mm(x, codes, prepared[0])
    return out if layer.bias is None else out.add_(layer.bias)


KERNELS = (
    Kernel(
        name="int8_pack_cuda",
        summary="weight-only int8 straight from the codes, float32 arithmetic; only by name",
        devices=("cuda",), activations=("none",), num_bits=(8,), strategies=("tensor", "channel"),
        zeros=("none",), dtypes=("bf16", "fp16", "fp32"), prepare=prepare_pack_cuda, run=run_pack_cuda,
    ),
)  # fmt: skip

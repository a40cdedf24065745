"""Kernels that multiply int8 weights on a GPU.

- `run_int_mm_cuda`: int8 × int8 on tensor cores; `_int_mm` needs more than 16 rows, K and N multiples of 8. A
  decode step is padded.
- `run_pack_cuda`: weight-only. torch's kernel (2.8 and newer) is one thread an output in float32: exact, few
  registers, no reuse; it is there to be asked for by name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.kernels.cpu import run_int_mm
from qbench.quant.kernels.dequant import stored_codes
from qbench.quant.kernels.spec import Operand

LEAST_ROWS = 32
"""`_int_mm` refuses 16 rows and fewer."""


def run_int_mm_cuda(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) of any float dtype → (M, N); 8 bits, strategies tensor and channel."""
    return run_int_mm(layer, prepared, x, LEAST_ROWS)


def prepare_pack_cuda(layer: Operand) -> tuple[Tensor, ...]:
    """Channel scales, float32 (N)."""
    return (layer.scale.to(torch.float32).view(-1).expand(layer.spec.out_features).contiguous(),)


def run_pack_cuda(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) of any float dtype → (M, N); 8 bits, symmetric, strategies tensor and channel."""
    codes = stored_codes(layer, 0, layer.spec.out_features)
    out = torch._weight_int8pack_mm(x, codes, prepared[0])
    return out if layer.bias is None else out.add_(layer.bias)

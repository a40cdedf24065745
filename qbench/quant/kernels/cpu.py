"""Kernels that multiply int8 weights on a CPU without making floats of them first.

- `run_pack`: weight-only, `_weight_int8pack_mm`. Reads one byte a weight, so a decode step takes less than
  half the time of bf16; its cost grows with every few rows, and so it is only for few. Anything but bf16
  activations runs a scalar reference, slower than the float GEMM; a K that is no multiple of 16 puts rows
  off a vector's boundary and crashes (seen with torch 2.13).
- `run_onednn`: int8 × int8 with dynamic activations, `onednn.qlinear_pointwise`, int32 accumulation, exact.
  Activations go in as uint8 with zero 128: as int8 they would run a scalar reference, 300 times slower.
- `run_int_mm`: the same arithmetic through `_int_mm`, for a torch without the above.

On a CPU whose int8 products saturate (no VNNI, no AMX) both int8 × int8 kernels return wrong sums:
`machine.exact_int8` keeps them off there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.packing import pack
from qbench.quant.kernels.activations import ROWS, quantized_rows
from qbench.quant.kernels.dequant import stored_codes
from qbench.quant.kernels.output import finish_rows, scale_columns
from qbench.quant.kernels.spec import Operand

ACTIVATION_ZERO = 128
"""Code that stands for zero in uint8 activations."""

ALIGNMENT_BYTES = 64
"""A whole AVX-512 register."""

WEIGHT_ZERO = torch.zeros(1, dtype=torch.int64)
"""The GEMM's own weight zero: prepacked codes are signed, and what is left is corrected on the output."""


def prepare_pack(layer: Operand) -> tuple[Tensor, ...]:
    """The scale that the kernel applies itself: the layer's where bf16 holds it exactly, else ones."""
    n = layer.spec.out_features
    if layer.scale.dtype == torch.bfloat16:
        return (layer.scale.view(-1).expand(n).contiguous(),)
    return (torch.ones(n, dtype=torch.bfloat16, device=layer.scale.device),)


def run_pack(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); 8 bits, symmetric, strategies tensor and channel."""
    codes = aligned(stored_codes(layer, 0, layer.spec.out_features))
    out = torch._weight_int8pack_mm(aligned(x), codes, prepared[0])
    if layer.scale.dtype == torch.bfloat16:
        return out if layer.bias is None else out.add_(layer.bias)
    return scale_columns(out, layer.scale.view(1, -1), layer.bias)


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where its memory starts off a vector's boundary, which crashes the pack kernel.

    What torch allocates is aligned; a view into a mapped file or a slice may not be.
    """
    return tensor if tensor.data_ptr() % ALIGNMENT_BYTES == 0 else tensor.clone()


def prepare_onednn(layer: Operand) -> tuple[Tensor, ...]:
    """Prepacked codes, channel scales float32 (N), zero correction (N) if any."""
    n = layer.spec.out_features
    packed = torch.ops.onednn.qlinear_prepack(signed_codes(layer), None)
    scale = layer.scale.to(torch.float32).view(-1).expand(n).contiguous()
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
        sums = None if symmetric else _row_sums(codes, ACTIVATION_ZERO)
        products = qlinear(codes, 1.0, packed, scale, None, torch.float32)
        correction = None if symmetric else zero[0]
        finish_rows(products, row_scale, sums, correction, layer.bias, out[first : first + ROWS])
    return out


def prepare_int_mm(layer: Operand) -> tuple[Tensor, ...]:
    """Channel scales float32 (N), zero correction (N) or none."""
    scale = layer.scale.to(torch.float32).view(-1).expand(layer.spec.out_features).contiguous()
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
        sums = _row_sums(codes, 0) if zero else None
        correction = zero[0] if zero else None
        finish_rows(products, row_scale, sums, correction, layer.bias, out[first : first + ROWS])
    return out


def signed_codes(layer: Operand) -> Tensor:
    """int8 (N, K): code − 2^(num_bits − 1)."""
    codes = stored_codes(layer, 0, layer.spec.out_features)
    return codes if codes.dtype == torch.int8 else codes.to(torch.int8).sub_(layer.spec.half)


def zero_correction(layer: Operand, scale: Tensor) -> tuple[Tensor, ...]:
    """(zero − 2^(num_bits − 1)) · scale as float32 (N), or nothing for a symmetric weight."""
    zeros = layer.zeros()
    if zeros is None:
        return ()
    return ((zeros.view(-1) - layer.spec.half) * scale,)


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


def _row_sums(codes: Tensor, offset: int) -> Tensor:
    """Σ code of each row as float32 (M,), summed as integers."""
    return (codes.sum(1, dtype=torch.int64) - offset * codes.shape[1]).to(torch.float32)

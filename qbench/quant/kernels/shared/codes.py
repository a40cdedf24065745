"""Integer codes of a layer: unpacked, signed or aligned, and the correction for their zero."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.packing import unpack
from qbench.quant.kernels.base.spec import Operand, held_codes

ALIGNMENT_BYTES = 64
"""A whole AVX-512 register."""


def stored_codes(layer: Operand, first: int, last: int) -> Tensor:
    """Rows of the codes: int8, code − 128, for 8 bits; else uint8. (last − first, K)."""
    rows = held_codes(layer)[first:last]
    return rows if layer.spec.num_bits == 8 else unpack(rows, layer.spec.num_bits, layer.spec.in_features)


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


def row_sums(codes: Tensor, offset: int) -> Tensor:
    """Σ code of each row as float32 (M,), summed as integers."""
    return (codes.sum(1, dtype=torch.int64) - offset * codes.shape[1]).to(torch.float32)


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy where its memory starts off a vector's boundary, which crashes the pack kernel.

    What torch allocates is aligned; a view into a mapped file or a slice may not be.
    """
    return tensor if tensor.data_ptr() % ALIGNMENT_BYTES == 0 else tensor.clone()

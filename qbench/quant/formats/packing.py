"""Dense bit packing: codes of 2 to 8 bits stored at their true width along K, and nothing else stored.

A code of b bits is cut into planes of 8, 4, 2 or 1 bits (3 = 2+1, 5 = 4+1, 6 = 4+2, 7 = 4+2+1), lowest bits
first, and the planes stand one after the other in each row. A plane of width w is cut into blocks of 64
columns, 8·w bytes each; byte j of a block holds the columns that lie 8·w apart from its column j, lowest bits
first (4-bit: columns j and j + 32). So a vector register takes a block apart with a few shifts and gets
neighbouring columns, which share a scale, next to each other. The last block of a K that 64 does not divide
is cut in the same way over the columns that it has, padded with zero codes to a multiple of 8: that padding
is stored, and `bits_per_weight` of a layer counts it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.errors import MethodError

PLANES: dict[int, tuple[int, ...]] = {
    2: (2,),
    3: (2, 1),
    4: (4,),
    5: (4, 1),
    6: (4, 2),
    7: (4, 2, 1),
    8: (8,),
}
BLOCK = 64
"""Columns that are packed together: two bf16 registers of 512 bits."""


def packed_width(columns: int, num_bits: int) -> int:
    """Bytes a row: exactly columns·num_bits/8 where 8 divides the columns."""
    return _padded(columns) * num_bits // 8 if num_bits != 8 else columns


def pack(codes: Tensor, num_bits: int) -> Tensor:
    """Packs uint8 codes (N, K), each below 2^num_bits, to uint8 (N, packed_width(K, num_bits)).

    Raises MethodError for a width that is not 2 to 8, codes that are not uint8, or a code that does not fit.
    """
    planes = _planes(num_bits)
    if codes.dtype != torch.uint8 or codes.dim() != 2:
        raise MethodError(
            f"codes to pack are uint8 of shape (N, K), these are {codes.dtype} {tuple(codes.shape)}"
        )
    if num_bits == 8:
        return codes.clone()
    if codes.numel() and int(codes.max()) >= 2**num_bits:
        raise MethodError(f"code {int(codes.max())} does not fit into {num_bits} bits")
    columns = codes.shape[1]
    padded = torch.nn.functional.pad(codes, (0, _padded(columns) - columns))
    parts, low = [], 0
    for width in planes:
        parts.append(_pack_plane((padded >> low) & (2**width - 1), width))
        low += width
    return torch.cat(parts, dim=1)


def unpack(packed: Tensor, num_bits: int, columns: int) -> Tensor:
    """The uint8 codes (N, columns) that `pack` was given; rows may be any slice of the packed ones."""
    planes = _planes(num_bits)
    if num_bits == 8:
        return packed.clone()
    rows, padded = packed.shape[0], _padded(columns)
    codes = torch.empty(rows, padded, dtype=torch.uint8, device=packed.device)
    low, start = 0, 0
    for width in planes:
        end = start + padded * width // 8
        _unpack_plane(packed[:, start:end], width, low, codes)
        low, start = low + width, end
    return codes if padded == columns else codes[:, :columns]


def _planes(num_bits: int) -> tuple[int, ...]:
    if num_bits not in PLANES:
        raise MethodError(f"num_bits {num_bits} cannot be packed; choose from {sorted(PLANES)}")
    return PLANES[num_bits]


def _padded(columns: int) -> int:
    return -(-columns // 8) * 8


def _pack_plane(bits: Tensor, width: int) -> Tensor:
    """(N, K) values of `width` bits → (N, K·width/8)."""
    whole = bits.shape[1] // BLOCK * BLOCK
    parts = [_pack_blocks(bits[:, :whole], BLOCK, width), _pack_blocks(bits[:, whole:], None, width)]
    return torch.cat(parts, dim=1)


def _pack_blocks(bits: Tensor, block: int | None, width: int) -> Tensor:
    """Blocks of that many columns (None: all of them are one) → their bytes."""
    rows, columns = bits.shape
    if columns == 0:
        return bits
    pieces = bits.reshape(rows, -1, 8 // width, (block or columns) * width // 8)
    packed = pieces[:, :, 0].clone()
    for index in range(1, 8 // width):
        packed |= pieces[:, :, index] << (index * width)
    return packed.view(rows, -1)


def _unpack_plane(plane: Tensor, width: int, low: int, codes: Tensor) -> None:
    """Writes (the first plane) or adds (the others) a plane's bits at bit `low` of `codes`, in place."""
    columns = codes.shape[1]
    whole = columns // BLOCK * BLOCK
    border = whole * width // 8
    _unpack_blocks(plane[:, :border], BLOCK, width, low, codes[:, :whole])
    _unpack_blocks(plane[:, border:], columns - whole, width, low, codes[:, whole:])


def _unpack_blocks(packed: Tensor, block: int, width: int, low: int, codes: Tensor) -> None:
    if codes.shape[1] == 0:
        return
    mask, step = 2**width - 1, block * width // 8
    rows = codes.shape[0]
    packed = packed.view(rows, -1, step)
    targets = codes.view(rows, -1, 8 // width, step)
    for index in range(8 // width):
        bits = (packed >> (index * width)) & mask
        if low == 0:
            targets[:, :, index] = bits
        else:
            targets[:, :, index] |= bits << low

"""Dense bit packing: codes of 2 to 8 bits stored at their true width along K, and nothing else stored.

A code of b bits is cut into planes of 8, 4, 2 or 1 bits (3 = 2+1, 5 = 4+1, 6 = 4+2, 7 = 4+2+1), lowest bits
first, and the planes stand one after the other in each row. Inside a plane of width w each block of 64
columns takes 8·w bytes, and byte j of a block holds its columns j, j + 8·w, j + 2·8·w …, lowest bits first:
whoever reads a stretch of columns finds all their bits in a stretch of bytes. A K that is no multiple of 8
is padded with zero codes up to one, which `bits_per_weight` of a layer counts; a last block of r < 64 columns
takes r·w bits and follows the same rule.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.errors import MethodError

BLOCK = 64
"""Columns whose bits stand together."""

PLANES: dict[int, tuple[int, ...]] = {
    2: (2,),
    3: (2, 1),
    4: (4,),
    5: (4, 1),
    6: (4, 2),
    7: (4, 2, 1),
    8: (8,),
}


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


def _pieces(columns: int) -> tuple[tuple[int, int, int], ...]:
    """(first column, blocks, columns of a block) for the whole blocks and for what is left."""
    whole = columns // BLOCK * BLOCK
    found = ((0, whole // BLOCK, BLOCK), (whole, 1, columns - whole))
    return tuple(piece for piece in found if piece[1] and piece[2])


def _pack_plane(bits: Tensor, width: int) -> Tensor:
    """(N, K) values of `width` bits → (N, K·width/8)."""
    parts = []
    for first, blocks, size in _pieces(bits.shape[1]):
        part = bits[:, first : first + blocks * size].reshape(-1, blocks, 8 // width, size * width // 8)
        packed = part[:, :, 0].clone()
        for index in range(1, 8 // width):
            packed |= part[:, :, index] << (index * width)
        parts.append(packed.flatten(1))
    return torch.cat(parts, dim=1)


def _unpack_plane(plane: Tensor, width: int, low: int, codes: Tensor) -> None:
    """Writes (the first plane) or adds (the others) a plane's bits at bit `low` of `codes`, in place."""
    mask = 2**width - 1
    for first, blocks, size in _pieces(codes.shape[1]):
        start, length = first * width // 8, size * width // 8
        source = plane[:, start : start + blocks * length].view(-1, blocks, length)
        target = codes[:, first : first + blocks * size].view(-1, blocks, 8 // width, length)
        for index in range(8 // width):
            bits = (source >> (index * width)) & mask
            if low == 0:
                target[:, :, index] = bits
            else:
                target[:, :, index] |= bits << low

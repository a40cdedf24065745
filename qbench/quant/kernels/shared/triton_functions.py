"""The Triton functions: packed codes to floats in registers, then a product or a store. Imports Triton.

Layout of the codes: `qbench.quant.formats.packing`; 8 bits are int8, code − 128. Everywhere n indexes rows of
the weight (output features), m rows of the activations, k columns. Constants of every function:

- BITS of a code, 2 … 8. TAIL: columns of a last block shorter than 64, padded to 8; 0 where there is none.
- GROUP: columns that share a scale; 0 where a row has one, which is then applied to the sums, so that the
  codes enter the product as exact integers.
- ZERO: whether zeros are stored (in units of unsigned codes); else it is 2^(BITS − 1).

Only what Triton has had since 3.0 is used. `from __future__ import annotations` is fine: Triton reads the
annotations as text.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _plane(
    codes: tl.tensor, rows: tl.tensor, k: tl.tensor, live: tl.tensor, columns: tl.tensor,
    WIDTH: tl.constexpr, BITS: tl.constexpr, TAIL: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """int32 (n, k): the bits that one plane adds to the codes, in their place.

    The planes of a width are its binary digits, the largest first: what stands before this one is BITS with
    the digits from WIDTH down cleared. Each byte is read for every code that it holds, from the cache.
    """
    BEFORE: tl.constexpr = BITS // (2 * WIDTH) * (2 * WIDTH)
    inside = k % 64
    if TAIL == 0:
        place = k % (8 * WIDTH)  # of `inside`, Triton would no longer see that neighbours stand together
        shift = inside // (8 * WIDTH) * WIDTH
    else:
        piece = tl.where(k >= columns - TAIL, TAIL * WIDTH // 8, 8 * WIDTH)
        place = inside % piece
        shift = (inside // piece * WIDTH) & 7  # past the last column it would exceed a byte
    byte = columns // 8 * BEFORE + k // 64 * (8 * WIDTH) + place
    packed = tl.load(codes + rows + byte[None, :], mask=live, other=0).to(tl.int32)
    return ((packed >> shift[None, :]) & (2**WIDTH - 1)) << BEFORE


@triton.jit
def _shifted(
    codes: tl.tensor, rows: tl.tensor, k: tl.tensor, live: tl.tensor, columns: tl.tensor,
    BITS: tl.constexpr, ZERO: tl.constexpr, TAIL: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """float32 (n, k): unsigned codes where zeros are stored, else codes − 2^(BITS − 1)."""
    if BITS == 8:
        found = tl.load(codes + rows + k[None, :], mask=live, other=0).to(tl.int32)
        if ZERO:
            found += 128
    else:
        found = tl.zeros(live.shape, dtype=tl.int32)
        if BITS & 4:
            found |= _plane(codes, rows, k, live, columns, 4, BITS, TAIL)
        if BITS & 2:
            found |= _plane(codes, rows, k, live, columns, 2, BITS, TAIL)
        if BITS & 1:
            found |= _plane(codes, rows, k, live, columns, 1, BITS, TAIL)
        if not ZERO:
            found -= 2 ** (BITS - 1)
    return found.to(tl.float32)


@triton.jit
def _parameter(
    values: tl.tensor, n: tl.tensor, first: tl.tensor, N: tl.tensor, K: tl.tensor, stride: tl.tensor,
    GROUP: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """float32 (n, k) or (n, 1): the scales or zeros of columns first … first + BLOCK_K."""
    rows = n.to(tl.int64) * stride
    if GROUP == 0:
        tile = tl.load(values + rows, mask=n < N, other=0)[:, None]
    elif GROUP % BLOCK_K == 0:
        tile = tl.load(values + rows + first // GROUP, mask=n < N, other=0)[:, None]
    elif BLOCK_K % GROUP == 0:  # each is read once and spread
        group = first // GROUP + tl.arange(0, BLOCK_K // GROUP)
        live = (n < N)[:, None] & (group < K // GROUP)[None, :]
        few = tl.load(values + rows[:, None] + group[None, :], mask=live, other=0)
        spread = tl.broadcast_to(few[:, :, None], (BLOCK_N, BLOCK_K // GROUP, GROUP))
        tile = tl.reshape(spread, (BLOCK_N, BLOCK_K))
    else:
        k = first + tl.arange(0, BLOCK_K)
        live = (n < N)[:, None] & (k < K)[None, :]
        tile = tl.load(values + rows[:, None] + (k // GROUP)[None, :], mask=live, other=0)
    return tile.to(tl.float32)


@triton.jit
def _weight(
    codes: tl.tensor, scale: tl.tensor, zero: tl.tensor, n: tl.tensor, first: tl.tensor, N: tl.tensor,
    K: tl.tensor, columns: tl.tensor, codes_stride: tl.tensor, scale_stride: tl.tensor, BITS: tl.constexpr,
    GROUP: tl.constexpr, ZERO: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """float32 (n, k): (q − z)·s of columns first … first + BLOCK_K; without s where a row has one."""
    k = first + tl.arange(0, BLOCK_K)
    rows = n.to(tl.int64)[:, None] * codes_stride
    live = (n < N)[:, None] & (k < K)[None, :]
    tile = _shifted(codes, rows, k, live, columns, BITS, ZERO, TAIL)
    if ZERO:
        tile -= _parameter(zero, n, first, N, K, scale_stride, GROUP, BLOCK_N, BLOCK_K)
    if GROUP != 0:
        tile *= _parameter(scale, n, first, N, K, scale_stride, GROUP, BLOCK_N, BLOCK_K)
    return tile


@triton.jit
def _finish(
    sums: tl.tensor, scale: tl.tensor, bias: tl.tensor, y: tl.tensor, m: tl.tensor, n: tl.tensor,
    M: tl.tensor, N: tl.tensor, scale_stride: tl.tensor, GROUP: tl.constexpr, BIAS: tl.constexpr,
) -> None:  # fmt: skip
    """Row scales and bias onto float32 sums (m, n), rounded once on the way to y."""
    if GROUP == 0:
        sums *= tl.load(scale + n.to(tl.int64) * scale_stride, mask=n < N, other=0).to(tl.float32)[None, :]
    if BIAS:
        sums += tl.load(bias + n, mask=n < N, other=0).to(tl.float32)[None, :]
    live = (m < M)[:, None] & (n < N)[None, :]
    tl.store(y + m.to(tl.int64)[:, None] * N + n[None, :], sums.to(y.dtype.element_ty), mask=live)


@triton.jit
def gemm(
    x: tl.tensor, codes: tl.tensor, scale: tl.tensor, zero: tl.tensor, bias: tl.tensor, y: tl.tensor,
    M: tl.tensor, N: tl.tensor, K: tl.tensor, columns: tl.tensor, codes_stride: tl.tensor,
    scale_stride: tl.tensor, BITS: tl.constexpr, GROUP: tl.constexpr, ZERO: tl.constexpr,
    BIAS: tl.constexpr, TAIL: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:  # fmt: skip
    """A tile of y on tensor cores: the weight rounded once to the dtype of x, sums in float32.

    Programs of one n run side by side, so that a tile of the weight comes from memory once.
    """
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        live = (m < M)[:, None] & (k < K)[None, :]
        tile = tl.load(x + m.to(tl.int64)[:, None] * K + k[None, :], mask=live, other=0.0)
        weight = _weight(
            codes, scale, zero, n, first, N, K, columns, codes_stride, scale_stride,
            BITS, GROUP, ZERO, TAIL, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        # "ieee": float32 activations are not to be cut to TF32, whatever Triton's default.
        sums = tl.dot(tile, tl.trans(weight.to(tile.dtype)), sums, input_precision="ieee")
    _finish(sums, scale, bias, y, m, n, M, N, scale_stride, GROUP, BIAS)


@triton.jit
def gemv(
    x: tl.tensor, codes: tl.tensor, scale: tl.tensor, zero: tl.tensor, bias: tl.tensor, y: tl.tensor,
    M: tl.tensor, N: tl.tensor, K: tl.tensor, columns: tl.tensor, codes_stride: tl.tensor,
    scale_stride: tl.tensor, BITS: tl.constexpr, GROUP: tl.constexpr, ZERO: tl.constexpr,
    BIAS: tl.constexpr, TAIL: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:  # fmt: skip
    """One row of x against BLOCK_N rows of the weight, all in float32: the weight is not rounded.

    Products are added up in place over all of K and across threads only once, at the end.
    """
    m = tl.program_id(0) % M  # rows of one n run side by side; on one axis, for only the first goes far
    n = tl.program_id(0) // M * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = tl.zeros((BLOCK_N, BLOCK_K), dtype=tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        # Addressed once a row of the weight, it gets the codes' own layout, and needs no trip through shared
        # memory, nor a barrier.
        live = (n < N)[:, None] & (k < K)[None, :]
        again = x + m.to(tl.int64) * K + tl.zeros((BLOCK_N, 1), dtype=tl.int32) + k[None, :]
        row = tl.load(again, mask=live, other=0.0).to(tl.float32)
        weight = _weight(
            codes, scale, zero, n, first, N, K, columns, codes_stride, scale_stride,
            BITS, GROUP, ZERO, TAIL, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        sums += row * weight
    row = m + tl.arange(0, BLOCK_M)
    _finish(tl.sum(sums, axis=1)[None, :], scale, bias, y, row, n, M, N, scale_stride, GROUP, BIAS)


@triton.jit
def dequantize(
    codes: tl.tensor, scale: tl.tensor, zero: tl.tensor, out: tl.tensor, N: tl.tensor, K: tl.tensor,
    columns: tl.tensor, codes_stride: tl.tensor, scale_stride: tl.tensor, BITS: tl.constexpr,
    GROUP: tl.constexpr, ZERO: tl.constexpr, TAIL: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
) -> None:  # fmt: skip
    """A tile of the float weight (N, K), computed in float32 and rounded once to the dtype of `out`."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    first = tl.program_id(1) * BLOCK_K
    k = first + tl.arange(0, BLOCK_K)
    weight = _weight(
        codes, scale, zero, n, first, N, K, columns, codes_stride, scale_stride,
        BITS, GROUP, ZERO, TAIL, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    if GROUP == 0:
        weight *= _parameter(scale, n, first, N, K, scale_stride, GROUP, BLOCK_N, BLOCK_K)
    live = (n < N)[:, None] & (k < K)[None, :]
    tl.store(out + n.to(tl.int64)[:, None] * K + k[None, :], weight.to(out.dtype.element_ty), mask=live)

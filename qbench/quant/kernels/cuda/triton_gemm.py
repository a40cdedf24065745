"""Packed weights of 2 to 8 bits on a GPU through Triton: codes become floats in registers, by group or row.

- `run_gemv`: a row of x at a time, float32 throughout. For a decode step of one sequence.
- `run_gemm`: tiles of x on tensor cores. Every tile of rows unpacks the weight again, so for few rows.
- `run_dequant_gemm`: a stretch of the weight made float by one launch, then torch's own GEMM, for many rows:
  what `dequant.run_any` does, in one pass over the codes.

Sizes of tiles stand in tables by the number of rows. They were chosen from the machine code for sm_90 (no
spilled register, 16-byte loads of codes, asynchronous copies and HGMMA): unmeasured until a GPU ran them.
Triton itself is imported at the first call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qbench.quant.kernels.base.kernel import WIDTHS, Choice, Kernel, Run
from qbench.quant.kernels.base.spec import Operand, held_codes
from qbench.quant.kernels.shared.scratch import SCRATCH

BLOCK = 64
"""Columns that are packed together; every tile of K starts at one."""

DEQUANT_BYTES = 64 * 2**20
"""Bytes of float weight at a time: enough work for every multiprocessor, and all of most layers."""


@dataclass(frozen=True)
class Tile:
    """Part of the product that one program computes, with its warps and the stages of its loop."""

    max_rows: int | None
    m: int
    n: int
    k: int
    warps: int
    stages: int


GEMV = Tile(None, 1, 4, 512, 4, 2)
"""A warp to each row of the weight, 16 columns to a thread: its loads need no exchange between threads."""

GEMM_TILES = (
    Tile(16, 16, 32, 128, 4, 4),  # narrow, so that a small layer still has programs for most of the GPU
    Tile(32, 32, 64, 64, 4, 4),
    Tile(64, 64, 64, 64, 4, 4),
    Tile(None, 128, 128, 64, 8, 3),
)
FLOAT32_TILES = (
    Tile(16, 16, 32, 64, 8, 3),
    Tile(None, 32, 32, 64, 8, 3),  # without tensor cores both operands stand in registers
)
DEQUANT = Tile(None, 1, 16, 256, 4, 1)


def prepare_zeros(layer: Operand) -> tuple[Tensor, ...]:
    """Zeros of the scale's shape, in units of unsigned codes: uint8 or float32; nothing when symmetric."""
    zeros = layer.zeros()
    if zeros is None:
        return ()
    return (zeros.to(torch.uint8) if layer.spec.zero == "integer" else zeros,)


def run_gemv(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); every width, strategy and zero. Reads the codes once a row of x."""
    blocks = _blocks(layer.spec.out_features, GEMV.n)
    return _product("gemv", (x.shape[0] * blocks,), GEMV, layer, prepared, x)


def run_gemm(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); every width, strategy and zero; the weight rounded once to the dtype of x."""
    tile = gemm_tile(x.shape[0], x.dtype)
    grid = (_blocks(x.shape[0], tile.m), _blocks(layer.spec.out_features, tile.n))
    return _product("gemm", grid, tile, layer, prepared, x)


def run_dequant_gemm(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) → (M, N); every width, strategy and zero; the weight rounded once to the dtype of x."""
    n, k = layer.spec.out_features, layer.spec.in_features
    out = torch.empty(x.shape[0], n, dtype=x.dtype, device=x.device)
    step = max(1, DEQUANT_BYTES // (k * x.element_size()))
    for first in range(0, n, step):
        last = min(n, first + step)
        weight = SCRATCH.take("weight", (last - first, k), x.dtype, x.device)
        dequantize(layer, prepared, first, weight)
        if layer.bias is None:
            torch.mm(x, weight.t(), out=out[:, first:last])
        else:
            torch.addmm(layer.bias[first:last].to(x.dtype), x, weight.t(), out=out[:, first:last])
    return out


def dequantize(layer: Operand, prepared: tuple[Tensor, ...], first: int, out: Tensor) -> None:
    """Fills `out` (rows, K) with rows of the weight from `first` on, rounded once to its dtype."""
    from qbench.quant.kernels.shared import triton_functions

    codes, scale, zero = (part if part.shape[0] == 1 else part[first:] for part in _parts(layer, prepared))
    rows, k = out.shape
    tile = DEQUANT
    with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
        sizes = constants(layer, tile)
        triton_functions.dequantize[_blocks(rows, tile.n), _blocks(k, sizes["BLOCK_K"])](
            codes, scale, zero, out, rows, k, *_strides(layer),
            **sizes, num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip


def gemm_tile(rows: int, dtype: torch.dtype) -> Tile:
    """The first tile of the dtype's table that takes so many rows."""
    tiles = FLOAT32_TILES if dtype == torch.float32 else GEMM_TILES
    return next(tile for tile in tiles if rows <= (tile.max_rows or rows))


def constants(layer: Operand, tile: Tile) -> dict[str, int | bool]:
    """Constants that the Triton functions are compiled for, without BLOCK_M and BIAS."""
    spec = layer.spec
    padded = -(-spec.in_features // 8) * 8
    return {
        "BITS": spec.num_bits,
        "GROUP": spec.group_size or 0,
        "ZERO": spec.zero != "none",
        "TAIL": padded % BLOCK if spec.num_bits < 8 else 0,
        "BLOCK_N": tile.n,
        "BLOCK_K": block_k(spec.group_size, tile.k),
    }


def block_k(group_size: int | None, wanted: int) -> int:
    """Columns at a time: as wanted, or fewer where they then divide the group or it divides them."""
    if group_size is None:
        return wanted
    fits = (size for size in (wanted, wanted // 2, wanted // 4, BLOCK) if size >= BLOCK)
    return next((size for size in fits if size % group_size == 0 or group_size % size == 0), wanted)


def _product(
    name: str, grid: tuple[int, ...], tile: Tile, layer: Operand, prepared: tuple[Tensor, ...], x: Tensor
) -> Tensor:
    from qbench.quant.kernels.shared import triton_functions

    rows, k = x.shape
    n = layer.spec.out_features
    out = torch.empty(rows, n, dtype=x.dtype, device=x.device)
    codes, scale, zero = _parts(layer, prepared)
    bias = scale if layer.bias is None else layer.bias
    function: Any = getattr(triton_functions, name)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call] # Triton launches on the current one
        function[grid](
            x, codes, scale, zero, bias, out, rows, n, k, *_strides(layer),
            **constants(layer, tile), BLOCK_M=tile.m, BIAS=layer.bias is not None,
            num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
    return out


def _parts(layer: Operand, prepared: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, scale and zeros; the scale again where there are no zeros, never read."""
    return held_codes(layer), layer.scale, prepared[0] if prepared else layer.scale


def _strides(layer: Operand) -> tuple[int, int, int]:
    """Columns with their padding, bytes a row of codes, scales a row (0: all rows share them)."""
    padded = -(-layer.spec.in_features // 8) * 8
    shared = layer.scale.shape[0] == 1
    return padded, held_codes(layer).shape[1], 0 if shared else layer.spec.groups


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


def _entry(name: str, summary: str, run: Run, choice: Choice) -> Kernel:
    return Kernel(
        name=name,
        summary=summary,
        devices=("cuda",), activations=("none",), num_bits=WIDTHS, strategies=("tensor", "channel", "group"),
        zeros=("none", "integer", "float"), dtypes=("bf16", "fp16", "fp32"), needs=("triton",),
        cuda_capability=(8, 0), prepare=prepare_zeros, run=run,
        choices=(choice,),
    )  # fmt: skip


# The claims were made before a GPU ran them. One row leaves tensor cores idle in any kernel, and the memory's
# rate decides. A tile of more than 64 rows unpacks the weight again for each 128 of them: from two such tiles
# on one pass over the codes and torch's GEMM should cost less.
KERNELS = (
    _entry(
        "triton_gemv",
        "packed codes straight into float32 products, for single rows",
        run_gemv,
        Choice(30, "the memory's rate decides at one row; not measured", max_rows=1),
    ),
    _entry(
        "triton_gemm",
        "packed codes unpacked in registers, tensor cores; for few rows",
        run_gemm,
        Choice(40, "one tile of rows unpacks the weight once; not measured", max_rows=128),
    ),
    _entry(
        "triton_dequant_gemm",
        "weight dequantized by one Triton launch into the activation dtype; float GEMM",
        run_dequant_gemm,
        Choice(50, "one pass over the codes, then torch's GEMM; not measured"),
    ),
)

"""The compiled library (`c/`), called through ctypes with plain pointers.

- `packed_linear`: integers of 2 to 8 bits, 8-bit floats, any scales and zeros, bf16 activations. Weights are
  rounded to bf16 as their `dequantize` does (one scale a row and no float zero: not at all); float32 sums.
- `round_rows`, `finish_rows`: the steps before and after an int8 product; need AVX512-BF16.
- `expand`: the same weights into a tile of memory, for the kernels that leave the product to torch.
- `int8_linear`: int8 with one scale a row in float32 arithmetic, for up to four rows.
- `round_columns`: the inner loop of GPTQ.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from qbench.quant.formats.packing import unpack
from qbench.quant.kernels.base.compiler import built
from qbench.quant.kernels.base.spec import Operand, channel_scale, held_codes

ROWS = 4
"""Rows of x at a time in `int8_linear`: more run out of registers."""
WIDE = 32
"""bf16 values in a register; rows of x end on a multiple of it."""
FLOATS = {"e4m3": 9, "e5m2": 10}
NUMBERS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.uint8: 3}


class Weight(ctypes.Structure):
    """`struct weight` of lanes.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("scale", "zero", "out_scale", "bias")),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "row_bytes", "group", "shared")),
        *((name, ctypes.c_int32) for name in ("format", "scale_type", "zero_type")),
    )


def describe(layer: Operand, exact: bool) -> tuple[Tensor, ...]:
    """The struct's bytes as a tensor, then every tensor that it points to, which keeps them alive.

    `exact`: codes minus zero as they are, scales on the output (strategy tensor or channel, no float zero).
    """
    spec = layer.spec
    zeros = layer.zero
    if zeros is not None and spec.zero == "integer":
        zeros = unpack(zeros, spec.num_bits, layer.scale.numel())
    scale = layer.scale.contiguous()
    given = {"zero": zeros, "scale": None if exact else scale}
    if exact:
        given["out_scale"] = channel_scale(layer)
    if layer.bias is not None:
        given["bias"] = layer.bias.to(torch.float32)
    found = {name: tensor for name, tensor in given.items() if tensor is not None}
    weight = Weight(**{name: tensor.data_ptr() for name, tensor in found.items()})
    weight.rows, weight.columns = spec.out_features, spec.in_features
    weight.format = FLOATS.get(spec.code, spec.num_bits)
    weight.row_bytes, weight.group = held_codes(layer).shape[1], spec.group_size or spec.in_features
    weight.shared = {"tensor": spec.out_features, "block": spec.group_size}.get(spec.strategy, 1)
    weight.scale_type = NUMBERS[scale.dtype]
    weight.zero_type = 0 if zeros is None else NUMBERS[zeros.dtype]
    return (torch.frombuffer(bytearray(weight), dtype=torch.uint8), *found.values())


def exact(layer: Operand) -> bool:
    """True where codes minus zero can be multiplied as they are and scaled afterwards."""
    return layer.spec.strategy in ("tensor", "channel") and layer.spec.zero != "float"


def packed_linear(described: Tensor, codes: Tensor, x: Tensor, out: Tensor) -> None:
    """x·Wᵀ + bias into `out`, both bf16; x padded with zeros to a multiple of WIDE columns."""
    given = (described.data_ptr(), codes.data_ptr(), x.data_ptr(), out.data_ptr())
    if _library().qbench_packed_linear(*given, x.shape[0]):
        raise MemoryError("no memory for the work buffers of packed_native")


def int8_linear(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """x·Wᵀ·scale + bias into `out`, bf16 or float32; x float32 of at most ROWS rows, codes int8 (N, K)."""
    weight = (codes.data_ptr(), scale.data_ptr(), None if bias is None else bias.data_ptr())
    given = (x.data_ptr(), *weight, out.data_ptr())
    _library().qbench_int8_linear(*given, out.dtype == torch.bfloat16, x.shape[0], *codes.shape)


def expand(layer: Operand, described: Tensor, first: int, last: int, tile: Tensor) -> None:
    """Rows first … last of the weight as bf16 into a contiguous (last − first, K), K a multiple of WIDE."""
    if _library().qbench_expand(
        described.data_ptr(), held_codes(layer).data_ptr(), tile.data_ptr(), first, last
    ):
        raise MemoryError("no memory for the work buffers of expand")


def round_rows(x: Tensor, step: float, codes: Tensor, scales: Tensor) -> None:
    """Codes + 128 as uint8 (M, K) and scales float32 (M, 1) of x bf16 (M, K); step 0: max|x| / 127."""
    _library().qbench_round_rows(x.data_ptr(), step, codes.data_ptr(), scales.data_ptr(), *x.shape)


def columns_over(x: Tensor, threshold: float) -> Tensor:
    """Columns of x bf16 (M, K) that hold a magnitude of the threshold or more, int64, ascending."""
    columns = x.shape[1]
    found = torch.empty(columns, dtype=torch.int64)
    most = torch.empty(columns, dtype=torch.int16)
    at = (x.data_ptr(), threshold, most.data_ptr(), found.data_ptr())
    return found[: _library().qbench_columns_over(*at, *x.shape)]


def finish_rows(
    products: Tensor,
    scales: Tensor,
    sums: Tensor | None,
    zero: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
) -> None:
    """`output.finish_rows` in one pass, to bf16; all contiguous, all but `out` float32."""
    optional = [None if tensor is None else tensor.data_ptr() for tensor in (sums, zero, bias)]
    _library().qbench_finish_rows(
        products.data_ptr(), scales.data_ptr(), *optional, out.data_ptr(), *products.shape
    )


def round_columns(
    columns: Tensor,
    wanted: Tensor,
    moves: Tensor,
    scales: Sequence[tuple[Tensor, Tensor]],
    top: int,
    left: Tensor,
    codes: Tensor,
) -> None:
    """One block of `qbench.quant.algorithms.gptq`, float32 (B, N) each, rows contiguous; `codes` is uint8.

    On entry `wanted` is where the columns before the block have moved its columns to; it becomes where each
    was rounded, `left` what that leaves of it. `moves` is (B, B), lower triangular; `scales` holds a scale
    and a zero (N) for each column.
    """
    pointers = ctypes.c_void_p * len(scales)
    failed = _library().qbench_round_columns(
        *(tensor.data_ptr() for tensor in (columns, wanted, moves)),
        moves.stride(0),
        pointers(*(scale.data_ptr() for scale, _ in scales)),
        pointers(*(zero.data_ptr() for _, zero in scales)),
        float(top),
        left.data_ptr(),
        codes.data_ptr(),
        *columns.shape,
    )
    if failed:
        raise MemoryError("no memory for the work buffers of round_columns")


@functools.cache
def rounds() -> bool:
    """True where `round_rows` and `finish_rows` were compiled in: AVX512-BF16."""
    return why_not() is None and bool(_library().qbench_rounds())


@functools.cache
def why_not() -> str | None:
    """The reason why compiled kernels cannot be built here, or None. Compiles them if need be."""
    try:
        _library()
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


@functools.cache
def _library() -> ctypes.CDLL:
    return load(built())


def load(path: Path) -> ctypes.CDLL:
    """The library with the types of its functions said."""
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.qbench_packed_linear.argtypes = [*[pointer] * 4, number]
    library.qbench_expand.argtypes = [*[pointer] * 3, number, number]
    library.qbench_int8_linear.argtypes = [*[pointer] * 5, ctypes.c_int, *[ctypes.c_long] * 3]
    library.qbench_int8_linear.restype = None
    library.qbench_round_rows.argtypes = [pointer, ctypes.c_float, pointer, pointer, number, number]
    library.qbench_columns_over.argtypes = [pointer, ctypes.c_float, pointer, pointer, number, number]
    library.qbench_columns_over.restype = number
    library.qbench_finish_rows.argtypes = [*[pointer] * 6, number, number]
    library.qbench_round_rows.restype = library.qbench_finish_rows.restype = None
    given, made = (pointer, pointer, pointer, number, pointer, pointer), (pointer, pointer, number, number)
    library.qbench_round_columns.argtypes = [*given, ctypes.c_float, *made]
    return library

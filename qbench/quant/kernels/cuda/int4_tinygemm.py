"""4-bit weights through torch's `_weight_int4pack_mm` on a GPU: bf16, tensor cores, any affine format.

It computes w = (q − 8)·scale + offset, in bf16 with one rounding, so our (q − zero)·scale needs
offset = (8 − zero)·scale. For a symmetric weight that is exactly 0. Else it is rounded to bf16, which shifts
all weights of a group alike by up to 2⁻⁸·|8 − zero|·scale: for zeros within the codes at most scale / 32,
beside the scale / 2 that rounding to codes may cost; a float zero farther out costs more in proportion.
Scales must be bf16 already: rounding them here would be a second quantization. It is never chosen, only asked
for: it holds the codes in its own order, and sharing a layer by rows would repack it at each change.

Its own layout of the codes stands in for ours. `restore_tinygemm` reads them back through the kernel itself:
the identity times (q − 8)·1 + 8 is q, and bf16 holds every step of that exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.packing import pack
from qbench.quant.kernels.base.kernel import Kernel
from qbench.quant.kernels.base.spec import LinearSpec, Operand
from qbench.quant.kernels.shared.codes import stored_codes

GROUP_SIZES = (256, 128, 64, 32)
"""Group sizes of the kernel; a row with one scale runs as groups that share it."""

K_TILES = (8, 4, 2)
"""Tiles of 16 columns that a thread reads at once, the most first."""

LEAST_MULTIPLE = 32
"""Divisor of K: the smallest group, and the smallest count of tiles."""

RESTORE_COLUMNS = 1024
"""Columns that are read back at a time."""


def prepare_tinygemm(layer: Operand) -> tuple[Tensor, ...]:
    """Codes int32 (N/8, K/(16·tiles), 32, tiles/2); scale and offset bf16 (groups, N, 2)."""
    spec = layer.spec
    codes = stored_codes(layer, 0, spec.out_features)
    pairs = codes[:, ::2] << 4 | codes[:, 1::2]
    tiles = next(tiles for tiles in K_TILES if spec.in_features % (16 * tiles) == 0)
    return _convert(pairs.contiguous(), tiles), scales_and_offsets(layer)


def scales_and_offsets(layer: Operand) -> Tensor:
    """bf16 (groups, N, 2): the scale and (8 − zero)·scale of each group of `group_size` columns."""
    spec = layer.spec
    scale, zeros = layer.scale.to(torch.float32), layer.zeros()
    offset = torch.zeros_like(scale) if zeros is None else (spec.half - zeros) * scale
    groups = spec.in_features // group_size(spec)
    shape = (spec.out_features, groups, 2)
    both = torch.stack((scale, offset), dim=2).to(torch.bfloat16).expand(shape)
    return both.transpose(0, 1).contiguous()


def run_tinygemm(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 (M, K) → bf16 (M, N); 4 bits, every strategy and zero."""
    out = _multiply(x, prepared[0], group_size(layer.spec), prepared[1])
    return out if layer.bias is None else out.add_(layer.bias)


def restore_tinygemm(layer: Operand, prepared: tuple[Tensor, ...]) -> Tensor:
    """The codes as the layer stores them, exactly."""
    packed, scales = prepared
    k, n = layer.spec.in_features, layer.spec.out_features
    unit = torch.empty_like(scales)
    unit[..., 0], unit[..., 1] = 1, layer.spec.half
    codes = torch.empty(n, k, dtype=torch.uint8, device=packed.device)
    for first in range(0, k, RESTORE_COLUMNS):
        last = min(k, first + RESTORE_COLUMNS)
        rows = torch.zeros(last - first, k, dtype=torch.bfloat16, device=packed.device)
        rows[:, first:last].fill_diagonal_(1)
        codes[:, first:last] = _multiply(rows, packed, group_size(layer.spec), unit).t()
    return pack(codes, layer.spec.num_bits)


def group_size(spec: LinearSpec) -> int:
    """The layer's, or for a scale a row or a tensor the largest of the kernel's that divides K."""
    if spec.group_size is not None:
        return spec.group_size
    return next(size for size in GROUP_SIZES if spec.in_features % size == 0)


def _convert(pairs: Tensor, tiles: int) -> Tensor:
    """uint8 (N, K/2), the even column in the high bits → the kernel's layout."""
    made: Tensor = torch.ops.aten._convert_weight_to_int4pack(pairs, tiles)
    return made


def _multiply(x: Tensor, packed: Tensor, group: int, scales: Tensor) -> Tensor:
    out: Tensor = torch.ops.aten._weight_int4pack_mm(x, packed, group, scales)
    return out


KERNELS = (
    Kernel(
        name="int4_tinygemm",
        summary="4 bits in tensor-core order, torch._weight_int4pack_mm; only by name",
        devices=("cuda",), activations=("none",), num_bits=(4,), strategies=("tensor", "channel", "group"),
        zeros=("none", "integer", "float"), dtypes=("bf16",), cuda_capability=(8, 0), group_sizes=GROUP_SIZES,
        scale_dtypes=("bf16",), in_multiple=LEAST_MULTIPLE, out_multiple=8, prepare=prepare_tinygemm,
        run=run_tinygemm, restore=restore_tinygemm,
    ),
)  # fmt: skip

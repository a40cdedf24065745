"""int8 × int8 on a GPU's tensor cores, `torch._int_mm`: more than 16 rows, K and N multiples of 8.

A decode step is padded to 32 rows."""

from __future__ import annotations

from torch import Tensor

from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.cpu.int8_int_mm import prepare_int_mm, run_int_mm

LEAST_ROWS = 32
"""`_int_mm` refuses 16 rows and fewer."""


def run_int_mm_cuda(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x (M, K) of any float dtype → (M, N); 8 bits, strategies tensor and channel."""
    return run_int_mm(layer, prepared, x, LEAST_ROWS)


KERNELS = (
    Kernel(
        name="int8_int_mm_cuda",
        summary="int8 × int8 with rounded activations on tensor cores, torch._int_mm",
        devices=("cuda",), activations=("dynamic", "static"), num_bits=(8,), strategies=("tensor", "channel"),
        zeros=("none", "integer", "float"), dtypes=("bf16", "fp16", "fp32"), cuda_capability=(7, 5),
        in_multiple=8, out_multiple=8, prepare=prepare_int_mm, run=run_int_mm_cuda,
        choices=(Choice(20, "the only int8 product of tensor cores here; not measured"),),
    ),
)  # fmt: skip

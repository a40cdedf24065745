"""Kernels that run quantized linear layers, and the choice of one for a number of rows.

`base` (a layer's spec, a kernel's conditions, the machine's features) → `shared` (steps of several kernels) →
`cpu`, `cuda`, `portable` (a file a family) → `registry` (finds them) → `table` (the fastest at each number of
rows).
"""

from qbench.quant.kernels.base.kernel import Choice, Kernel
from qbench.quant.kernels.base.spec import DTYPES, LinearSpec, dtype_name
from qbench.quant.kernels.kernel_rows import choice_rows, kernel_rows
from qbench.quant.kernels.registry import built_in, kernel, kernels
from qbench.quant.kernels.table import choose, plan

__all__ = [
    "DTYPES", "Choice", "Kernel", "LinearSpec", "built_in", "choice_rows", "choose", "dtype_name", "kernel",
    "kernel_rows", "kernels", "plan",
]  # fmt: skip

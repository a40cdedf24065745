"""Kernels that run quantized linear layers, and the table that says which runs when.

`machine` (what this computer can do) and `spec` (what a layer is) → `kernel` (conditions as data) → `cpu`,
`cuda`, `dequant` (the arithmetic) → `table` (the list, and the fastest at each number of rows).
"""

from qbench.quant.kernels.kernel import Kernel
from qbench.quant.kernels.spec import DTYPES, LinearSpec, dtype_name
from qbench.quant.kernels.table import KERNELS, choose, kernel, listing, plan

__all__ = ["DTYPES", "KERNELS", "Kernel", "LinearSpec", "choose", "dtype_name", "kernel", "listing", "plan"]

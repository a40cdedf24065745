"""LLM.int8() at run time: an int8 product of most columns, and one in the activations' dtype of a few.

Columns that the layer stores apart are taken out of the input first. A further column that holds a magnitude
of the threshold or more, in any row of the call, is taken out as well and multiplied by its weights as int8
holds them. What is left goes through the kernel for layers without outliers, whose row scales the outliers
then no longer stretch.

The oneDNN kernel frees the plain codes for its own layout, and columns are read from it through the product
itself: a row that is 1 at one place and 0 elsewhere returns that column of the weight, exactly. A few rows
more in an int8 product cost less than a second copy of the weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from qbench.quant.kernels.base import native
from qbench.quant.kernels.base.kernel import Choice, Kernel, Run
from qbench.quant.kernels.base.machine import features
from qbench.quant.kernels.base.spec import Operand
from qbench.quant.kernels.cpu import int8_int_mm, int8_onednn
from qbench.quant.kernels.cuda.int8_int_mm_cuda import run_int_mm_cuda
from qbench.quant.kernels.portable.dequant_gemm import run_any
from qbench.quant.kernels.shared.codes import signed_codes

Columns = Callable[[Operand, tuple[Tensor, ...], Tensor], Tensor]
"""(layer, prepared, found int64 (D)) → these columns of the dequantized weight, float32, as (D, N)."""


def beside_outliers(product: Run, columns: Columns) -> Run:
    """A kernel for layers with outliers from one for layers without."""

    def run(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
        rest, apart = x, layer.outlier_columns
        outlying = None if apart is None else x.index_select(1, apart)
        if apart is not None:
            rest = rest.index_fill(1, apart.long(), 0.0)
        found = outliers_in(rest, float(layer.spec.threshold or 0.0))
        if found.numel():
            rest = rest.index_fill(1, found, 0.0)
        out = product(layer, prepared, rest)
        if outlying is not None and layer.outlier_weights is not None:
            out.addmm_(outlying, layer.outlier_weights.to(x.dtype).t())
        if found.numel():
            out.addmm_(x.index_select(1, found), columns(layer, prepared, found).to(x.dtype))
        layer.kernel_log.count_outliers(found.numel())
        return out

    return run


def outliers_in(x: Tensor, threshold: float) -> Tensor:
    """Columns of x (M, K) that hold a magnitude of the threshold or more, int64, ascending."""
    if x.dtype == torch.bfloat16 and "native" in features(x.device.type):
        return native.columns_over(x.contiguous(), threshold)
    return (x.abs().amax(0) >= threshold).nonzero().view(-1)


def columns_by_product(layer: Operand, prepared: tuple[Tensor, ...], found: Tensor) -> Tensor:
    """Columns of codes that only the oneDNN product can read."""
    packed, scale = prepared
    shape = (found.numel(), layer.spec.in_features)
    ones = torch.full(shape, int8_onednn.ACTIVATION_ZERO, dtype=torch.uint8)
    ones.scatter_(1, found[:, None], int8_onednn.ACTIVATION_ZERO + 1)
    return int8_onednn.qlinear(ones, 1.0, packed, scale, None, torch.float32)


def columns_of_codes(layer: Operand, prepared: tuple[Tensor, ...], found: Tensor) -> Tensor:
    """Columns of the codes in their plain layout."""
    chosen = signed_codes(layer).index_select(1, found)
    return chosen.to(torch.float32).mul_(layer.scale).t()


ANYWHERE = Kernel(
    name="outliers_dequant_gemm",
    summary="LLM.int8() by a float GEMM: codes made float, activations rounded to int8; runs all of it",
    devices=("cpu", "cuda"), activations=("dynamic",), num_bits=(8,), strategies=("tensor", "channel"),
    zeros=("none",), dtypes=("bf16", "fp16", "fp32"), outliers=True,
    run=beside_outliers(run_any, columns_of_codes),
    choices=(Choice(240, "runs every layer with outliers"),),
)  # fmt: skip
KERNELS = (
    replace(
        ANYWHERE,
        name="int8_outliers",
        summary="LLM.int8(): int8 × int8 through oneDNN, outlier columns in the activations' dtype",
        devices=("cpu",), needs=("onednn", "exact_int8"), prepare=int8_onednn.prepare_onednn,
        restore=int8_onednn.restore_onednn, run=beside_outliers(int8_onednn.run_onednn, columns_by_product),
        choices=(Choice(210, "as int8_onednn"),),
    ),
    replace(
        ANYWHERE,
        name="int8_outliers_int_mm",
        summary="LLM.int8(): int8 × int8 through torch._int_mm, outlier columns in the activations' dtype",
        devices=("cpu",), needs=("exact_int8",),
        min_in_features=2,  # with one, torch 2.13 returns uninitialised memory
        prepare=int8_int_mm.prepare_int_mm,
        run=beside_outliers(int8_int_mm.run_int_mm, columns_of_codes),
        choices=(Choice(220, "as int8_int_mm; not measured"),),
    ),
    replace(
        ANYWHERE,
        name="int8_outliers_cuda",
        summary="LLM.int8(): int8 × int8 on tensor cores, outlier columns in the activations' dtype",
        devices=("cuda",), cuda_capability=(7, 5), in_multiple=8, out_multiple=8,
        prepare=int8_int_mm.prepare_int_mm, run=beside_outliers(run_int_mm_cuda, columns_of_codes),
        choices=(Choice(230, "as int8_int_mm_cuda; not measured"),),
    ),
    ANYWHERE,
)  # fmt: skip

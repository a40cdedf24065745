"""Quantization: formats, algorithms, calibration, layers, kernels, whole models.

Methods and kernels import from here and from `qbench`. Importing this package loads no torch; each name below
loads its module when first used.

A method's `quantize_layer(weight, layer)` gets a float weight (N, K), N outputs and K inputs, and returns one
of two weights. Both hold `codes` and two-dimensional scales; a scale is the value of one step of the code.
Codes are computed from the scale as it is stored, so that the equations hold for the stored values.

`AffineWeight`: w ≈ (q − z)·s
    codes        uint8 (N, K), each q in 0 … 2^num_bits − 1. Unsigned always: a signed code c is stored as
                 q = c + 2^(num_bits − 1).
    scale        float; (1, 1) a scale for all, (N, 1) one a row, (N, K / group_size) one for `group_size`
                 inputs of a row, (N / group_size, K) with `axis=0` for so many outputs of a column
    zero         of the scale's shape, in units of codes: None for z = 2^(num_bits − 1), uint8 for a code,
                 float for any number. It is subtracted from q, never added.
    num_bits     2 … 8
    activations  `none`, or int8 codes −127 … 127: `dynamic` with max|x| / 127 of each row as the step,
                 `static` with `input_scale`, float32 (1, 1), for all. 8 bits, a scale for all or one a row.
    permutation  int32 (K): column j of codes is input permutation[j]; None: in order
    outliers     input columns that are multiplied in the activations' dtype; needs dynamic activations

`Fp8Weight`: w ≈ c·s
    codes        float8_e4m3fn (up to 448) or float8_e5m2 (up to 57344), (N, K), finite
    scale        float32; (1, 1), (N, 1), or (⌈N / block_size⌉, ⌈K / block_size⌉) one for a square
    activations  `none`, or E4M3 codes: `dynamic` with max|x| / 448 of each row, `static` with `input_scale`

`why_invalid(shape)` of either names the first contradiction to this, `dequantize()` is the right side.

Modules of building blocks: `affine` and `fp8` (scales, codes, the weights), `ranges` (what the codes cover),
`gptq`, `hqq`, `llm_int8` (algorithms), `static_scales` (the step of static activations).

A `Kernel` runs layers whose conditions it lists, and claims rows by `choices`, a tuple of `Choice`. A package
registers one by an entry point of the group `qbench.kernels`, a method by one of `qbench.methods`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qbench.quant.algorithms import gptq, hqq, llm_int8, ranges
    from qbench.quant.calibration import static_scales
    from qbench.quant.formats import affine, fp8
    from qbench.quant.formats.affine import AffineWeight
    from qbench.quant.formats.fp8 import Fp8Weight
    from qbench.quant.kernels.base.kernel import Choice, Kernel
    from qbench.quant.layer.linear import QuantizedLinear
    from qbench.quant.method.base import Layer, Method
    from qbench.quant.method.parameters import checked_group_size, checked_percentile
    from qbench.quant.method.statistic import Statistic

_MODULES = {
    "affine": "qbench.quant.formats.affine",
    "calibrated": "qbench.quant.calibration.static_scales",
    "fp8": "qbench.quant.formats.fp8",
    "gptq": "qbench.quant.algorithms.gptq",
    "hqq": "qbench.quant.algorithms.hqq",
    "llm_int8": "qbench.quant.algorithms.llm_int8",
    "ranges": "qbench.quant.algorithms.ranges",
    "static_scales": "qbench.quant.calibration.static_scales",
}
"""Modules by public name; `calibrated` is the old name of `static_scales`."""
_NAMES = {
    "AffineWeight": "qbench.quant.formats.affine",
    "Choice": "qbench.quant.kernels.base.kernel",
    "Fp8Weight": "qbench.quant.formats.fp8",
    "Kernel": "qbench.quant.kernels.base.kernel",
    "Layer": "qbench.quant.method.base",
    "Method": "qbench.quant.method.base",
    "QuantizedLinear": "qbench.quant.layer.linear",
    "Statistic": "qbench.quant.method.statistic",
    "checked_group_size": "qbench.quant.method.parameters",
    "checked_percentile": "qbench.quant.method.parameters",
}

__all__ = [
    "AffineWeight", "Choice", "Fp8Weight", "Kernel", "Layer", "Method", "QuantizedLinear", "Statistic",
    "affine", "checked_group_size", "checked_percentile", "fp8", "gptq", "hqq", "llm_int8", "ranges",
    "static_scales",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'qbench.quant' has no attribute {name!r}")

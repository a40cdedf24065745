"""`LinearSpec`: the plain facts of one quantized layer, as JSON; `Operand`: the argument of a kernel."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

from qbench.errors import KernelError
from qbench.json_object import JsonObject
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.formats.fp8 import Fp8Weight
from qbench.quant.formats.weight import Activations, PackedWeight, Strategy
from qbench.quant.kernels.base.kernel_log import KernelLog

Zero = Literal["none", "integer", "float"]
Code = Literal["int", "e4m3", "e5m2"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_name(dtype: torch.dtype) -> str:
    """`fp32`, `bf16` or `fp16`; KernelError for another one."""
    for name, known in DTYPES.items():
        if known == dtype:
            return name
    raise KernelError(f"dtype {dtype} is none of {', '.join(DTYPES)}: cast the model to one of them")


@dataclass(frozen=True)
class LinearSpec:
    """Shape, format and wishes of a quantized layer: enough to build it empty and load its state."""

    in_features: int
    out_features: int
    num_bits: int
    strategy: Strategy
    group_size: int | None
    """Inputs of a row that share a scale; of a block, its rows as well."""
    zero: Zero
    """`none`: symmetric, the zero is 2^(num_bits−1) and not stored. `integer`: packed. `float`: as given."""
    scale_dtype: str
    zero_dtype: str | None
    """Dtype of a float zero; None for the others."""
    activations: Activations
    bias: bool
    dtype: str
    """Dtype of the bias, and of the activations that a plan assumes: `fp32`, `bf16` or `fp16`."""
    kernel: str = "auto"
    """Name of the kernel asked for, or `auto`."""
    allow_fallback: bool = False
    """True: another kernel may run where the one asked for cannot; the reason is then reported."""
    permuted: bool = False
    """True: the columns stand in an order of their own, into which the layer brings its input."""
    code: Code = "int"
    """Unsigned integers of `num_bits` bits, or 8-bit floats."""
    threshold: float | None = None
    """Magnitude from which an input is an outlier whose column is multiplied in its own dtype; None: none."""
    outliers: int = 0
    """Columns stored apart, in `outlier_dtype`."""
    outlier_dtype: str | None = None

    @property
    def groups(self) -> int:
        """Scales in a row (strategy tensor: in the whole weight)."""
        return 1 if self.group_size is None else -(-self.in_features // self.group_size)

    @property
    def scale_shape(self) -> tuple[int, int]:
        if self.strategy == "group_axis0" and self.group_size is not None:
            return self.out_features // self.group_size, self.in_features
        rows = 1 if self.strategy == "tensor" else self.out_features
        if self.strategy == "block" and self.group_size is not None:
            rows = -(-self.out_features // self.group_size)
        return rows, self.groups

    @property
    def half(self) -> int:
        """The code that a symmetric weight takes for zero."""
        return int(2 ** (self.num_bits - 1))

    def to_dict(self) -> JsonObject:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: JsonObject) -> Self:
        """Raises KernelError where fields are missing or unknown."""
        try:
            return cls(**data)
        except TypeError as error:
            raise KernelError(f"not the config of a quantized linear layer: {error}") from error


def spec_of(
    weight: PackedWeight, bias: bool, dtype: torch.dtype, kernel: str, allow_fallback: bool
) -> LinearSpec:
    """The spec of a weight; `dtype` is that of the activations."""
    n, k = weight.codes.shape
    common = LinearSpec(
        in_features=k,
        out_features=n,
        num_bits=8,
        strategy="tensor" if weight.scale.shape == (1, 1) and n != 1 else "channel",
        group_size=None,
        zero="none",
        scale_dtype=dtype_name(weight.scale.dtype),
        zero_dtype=None,
        activations="none",
        bias=bias,
        dtype=dtype_name(dtype),
        kernel=kernel,
        allow_fallback=allow_fallback,
    )
    if isinstance(weight, Fp8Weight):
        return dataclasses.replace(
            common,
            code=weight.format,
            strategy=common.strategy if weight.block_size is None else "block",
            group_size=weight.block_size,
            activations=weight.activations,
        )
    if isinstance(weight, AffineWeight):
        return _affine_spec(common, weight)
    raise TypeError(f"no stored form of {type(weight).__name__}")


GROUPED: dict[int, Strategy] = {0: "group_axis0", 1: "group"}
"""Strategy by the axis that groups run along."""


def _affine_spec(common: LinearSpec, weight: AffineWeight) -> LinearSpec:
    apart = None if weight.outliers is None else weight.outliers.weights
    zero: Zero = "none"
    zero_dtype: str | None = None
    if weight.zero is not None:
        zero = "float" if weight.zero.is_floating_point() else "integer"
        zero_dtype = dtype_name(weight.zero.dtype) if zero == "float" else None
    return dataclasses.replace(
        common,
        num_bits=weight.num_bits,
        strategy=common.strategy if weight.group_size is None else GROUPED[weight.axis],
        group_size=weight.group_size,
        zero=zero,
        zero_dtype=zero_dtype,
        activations=weight.activations,
        permuted=weight.permutation is not None,
        threshold=None if weight.outliers is None else weight.outliers.threshold,
        outliers=0 if apart is None else apart.shape[1],
        outlier_dtype=None if apart is None else dtype_name(apart.dtype),
    )


class Operand(Protocol):
    """A quantized layer as its kernels see it. All tensors lie on one device."""

    @property
    def spec(self) -> LinearSpec: ...

    @property
    def codes(self) -> Tensor | None:
        """int8 (N, K), code − 128, for 8 bits; else uint8 (N, packed width); for 8-bit floats
        themselves (N, K). None: a kernel keeps them."""

    @property
    def scale(self) -> Tensor: ...

    @property
    def zero(self) -> Tensor | None:
        """The stored zero: packed integer codes, or floats of the scale's shape."""

    @property
    def bias(self) -> Tensor | None: ...

    @property
    def input_scale(self) -> Tensor | None:
        """float32 (1, 1) for static activations."""

    @property
    def outlier_columns(self) -> Tensor | None:
        """int32 (C): input features stored apart; None where there are none."""

    @property
    def outlier_weights(self) -> Tensor | None:
        """(N, C): their weights."""

    @property
    def kernel_log(self) -> KernelLog:
        """Log of the layer's calls; kernels add the outlier columns that they find."""

    def zeros(self) -> Tensor | None:
        """None (symmetric), or float32 of the scale's shape, in units of unsigned codes."""


def held_codes(layer: Operand) -> Tensor:
    """The stored codes; AssertionError where a kernel's own layout stands in for them."""
    if layer.codes is None:
        raise AssertionError("a kernel that needs the codes ran while another one holds them")
    return layer.codes


def channel_scale(layer: Operand) -> Tensor:
    """Scales of the rows, float32 (N); strategy tensor or channel."""
    return layer.scale.to(torch.float32).view(-1).expand(layer.spec.out_features).contiguous()

"""Buffers of a quantized layer: empty ones for a spec, those of a weight, and the weight back from them.

`codes` (int8, code − 128, for 8 bits; else uint8, packed densely along K; 8-bit floats as they are), `scale`
in its own dtype, `zero` (integer zeros packed at num_bits, float ones as given), `permutation` (int32 (K)),
`input_scale` (float32 (1, 1), static activations), `outlier_columns` (int32 (C)),
`outlier_weights` (N, C). A buffer that the format does not have is None.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.formats.affine import AffineWeight
from qbench.quant.formats.fp8 import FORMATS, Fp8Weight
from qbench.quant.formats.outliers import Outliers
from qbench.quant.formats.packing import pack, packed_width, unpack
from qbench.quant.formats.weight import PackedWeight
from qbench.quant.kernels.base.spec import DTYPES, LinearSpec

State = dict[str, Tensor | None]


def empty_state(spec: LinearSpec, device: torch.device | str | None) -> State:
    """Buffers of the right shape and dtype, uninitialised."""
    rows, groups = spec.scale_shape
    state: State = {
        "codes": torch.empty(spec.out_features, code_bytes(spec), dtype=code_dtype(spec), device=device),
        "scale": torch.empty(rows, groups, dtype=DTYPES[spec.scale_dtype], device=device),
        "zero": None,
        "permutation": None,
        "input_scale": None,
        "outlier_columns": None,
        "outlier_weights": None,
        "bias": None,
    }
    if spec.zero == "integer":
        width = packed_width(rows * groups, spec.num_bits)
        state["zero"] = torch.empty(1, width, dtype=torch.uint8, device=device)
    elif spec.zero == "float":
        state["zero"] = torch.empty(rows, groups, dtype=DTYPES[str(spec.zero_dtype)], device=device)
    if spec.permuted:
        state["permutation"] = torch.empty(spec.in_features, dtype=torch.int32, device=device)
    if spec.activations == "static":
        state["input_scale"] = torch.empty(1, 1, dtype=torch.float32, device=device)
    if spec.outliers:
        shape = (spec.out_features, spec.outliers)
        state["outlier_columns"] = torch.empty(spec.outliers, dtype=torch.int32, device=device)
        state["outlier_weights"] = torch.empty(shape, dtype=DTYPES[str(spec.outlier_dtype)], device=device)
    if spec.bias:
        state["bias"] = torch.empty(spec.out_features, dtype=DTYPES[spec.dtype], device=device)
    return state


def state_of(weight: PackedWeight) -> State:
    """A weight's buffers, all but the bias, in memory of their own."""
    if isinstance(weight, Fp8Weight):
        scale, step = weight.scale.clone(), _copy(weight.input_scale)
        return {"codes": weight.codes.clone(), "scale": scale, "input_scale": step}
    if not isinstance(weight, AffineWeight):
        raise TypeError(f"no stored form of {type(weight).__name__}")
    bits = weight.num_bits
    zero = weight.zero
    if zero is not None:
        zero = zero.clone() if zero.is_floating_point() else pack(zero.reshape(1, -1), bits)
    return {
        "codes": weight.codes.sub(128).view(torch.int8) if bits == 8 else pack(weight.codes, bits),
        "scale": weight.scale.clone(),
        "zero": zero,
        "permutation": _copy(weight.permutation),
        "input_scale": _copy(weight.input_scale),
        "outlier_columns": _copy(weight.outliers.columns if weight.outliers else None),
        "outlier_weights": _copy(weight.outliers.weights if weight.outliers else None),
    }


def weight_of(spec: LinearSpec, state: State) -> PackedWeight:
    """The weight whose buffers these are, exactly; `codes` must be there."""
    codes, scale = state["codes"], state["scale"]
    assert codes is not None
    assert scale is not None
    if spec.code != "int":
        return Fp8Weight(codes, scale, spec.group_size, spec.activations, state["input_scale"])
    zero = float_zeros(spec, state["zero"])
    if zero is not None:
        zero = zero.to(torch.uint8 if spec.zero == "integer" else DTYPES[str(spec.zero_dtype)])
    outliers = None
    if spec.threshold is not None:
        outliers = Outliers(spec.threshold, state["outlier_columns"], state["outlier_weights"])
    eight = spec.num_bits == 8
    return AffineWeight(
        codes=codes.view(torch.uint8) + 128 if eight else unpack(codes, spec.num_bits, spec.in_features),
        scale=scale,
        zero=zero,
        num_bits=spec.num_bits,
        group_size=spec.group_size,
        axis=0 if spec.strategy == "group_axis0" else 1,
        activations=spec.activations,
        permutation=state["permutation"],
        input_scale=state["input_scale"],
        outliers=outliers,
    )


def float_zeros(spec: LinearSpec, zero: Tensor | None) -> Tensor | None:
    """Stored zeros as float32 of the scale's shape, in units of unsigned codes; None when symmetric."""
    if zero is None:
        return None
    if spec.zero == "float":
        return zero.to(torch.float32)
    rows, groups = spec.scale_shape
    return unpack(zero, spec.num_bits, rows * groups).to(torch.float32).view(rows, groups)


def bits_per_weight(spec: LinearSpec, state: State) -> float:
    """Stored bits a weight: codes with their padding and all else but the bias, over N·K."""
    stored = spec.out_features * code_bytes(spec)
    stored += sum(nbytes(value) for key, value in state.items() if key not in ("codes", "bias"))
    return 8 * stored / (spec.in_features * spec.out_features)


def bytes_by_part(state: State, prepared: int) -> dict[str, int]:
    """Bytes in memory now by part, `prepared` bytes of a kernel's own layout among them."""
    return {
        "codes": nbytes(state["codes"]),
        "scales": nbytes(state["scale"]),
        "zeros": nbytes(state["zero"]),
        "permutation": nbytes(state["permutation"]),
        "input_scale": nbytes(state["input_scale"]),
        "outliers": nbytes(state["outlier_columns"]) + nbytes(state["outlier_weights"]),
        "bias": nbytes(state["bias"]),
        "prepared": prepared,
    }


def code_bytes(spec: LinearSpec) -> int:
    """Bytes of a row of codes, padding included."""
    return packed_width(spec.in_features, spec.num_bits)


def code_dtype(spec: LinearSpec) -> torch.dtype:
    if spec.code != "int":
        return FORMATS[spec.code]
    return torch.int8 if spec.num_bits == 8 else torch.uint8


def nbytes(tensor: Tensor | None) -> int:
    """Bytes in memory, the padding of a blocked layout included."""
    if tensor is None:
        return 0
    return int(torch.ops.mkldnn._nbytes(tensor)) if tensor.is_mkldnn else tensor.nbytes


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()

"""Quantization of a model in place, layer by layer, and the table of its layers.

One layer at a time is in memory twice; its float weight is freed before the next one is touched.
Every targeted layer is checked afterwards: a layer that is not packed is an error, never a log line.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qbench.errors import MethodError
from qbench.json_object import JsonObject
from qbench.quant.calibration.walk import Calibrated, now_s, quantize_calibrated
from qbench.quant.formats.weight import PackedWeight
from qbench.quant.layer.layer_facts import LayerFacts
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method.base import Layer, Method
from qbench.quant.selection.targets import Target, select

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Conversion:
    """Result of `quantize_model`."""

    quantized: tuple[str, ...]
    left: dict[str, str]
    """Linear layers that stay in floating point, by name → why."""
    seconds: float = 0.0
    """Seconds of the method, its calibration and the packing; the harness's own checks of each layer are not
    in it."""
    calibration_tokens: int = 0
    """Tokens of the calibration text that ran through the model; 0 for a method that needs none."""


@torch.no_grad()
def quantize_model(
    model: nn.Module,
    method: Method,
    layers: JsonObject | None = None,
    *,
    calibration: Tensor | None = None,
    allow_fallback: bool = False,
) -> Conversion:
    """Replaces each targeted layer by a `QuantizedLinear`, in place.

    `layers` holds `include`, `exclude`, `overrides` (see `qbench.quant.selection.targets.select`).
    `calibration` is int64 (samples, seqlen), for methods that name statistics; the others do not look at it.
    Raises MethodError naming layer, method and parameters; running out of memory passes as it is. After an
    error the model is half converted and must be loaded anew.
    """
    if not method.quantizes:
        return Conversion((), {})
    chosen = select(model, method, layers or {})
    done = _quantize(model, chosen.targets, calibration, partial(_replace, model, allow_fallback))
    for target in chosen.targets:
        _check_packed(model, target)
    names = tuple(target.layer.name for target in chosen.targets)
    return Conversion(names, chosen.left, done.seconds, done.tokens)


def layer_table(model: nn.Module) -> list[JsonObject]:
    """One entry per quantized layer: its format, its kernels, and how far its weight moved.

    The layer's own report, with `name`, `kind`, `method`, `params`, `weight_error` (‖w − ŵ‖/‖w‖ measured at
    quantization, None for a weight of zeros), `calibration_tokens`, the method's own `notes` and the hash
    of what it stores, `codes_sha256`.
    """
    return [
        {**layer.report(), **layer.facts.to_dict(), "codes_sha256": codes_sha256(layer)}
        for _, layer in quantized_layers(model)
    ]


def codes_sha256(layer: QuantizedLinear) -> str:
    """SHA-256 over name, dtype, shape and bytes of codes, scales, zeros and the rest, the bias left out.

    Equal on any device. The codes are taken as they are stored, whichever kernel's layout they stand in; one
    layer at a time is copied to the CPU.
    """
    found = hashlib.sha256()
    for key, value in sorted(layer.state_dict().items()):
        if key != "bias":
            found.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def bits_per_weight(model: nn.Module) -> dict[str, float | None]:
    """`quantized`: stored bits over weights of the quantized layers, metadata included (None if there
    are none); `all`: the same over every weight of the model, shared ones counted once."""
    bits = weights = 0.0
    for _, layer in quantized_layers(model):
        count = layer.spec.in_features * layer.spec.out_features
        bits, weights = bits + layer.bits_per_weight * count, weights + count
    rest = list(_float_tensors(model))
    rest_bits = sum(8 * tensor.nbytes for tensor in rest)
    rest_weights = sum(tensor.numel() for tensor in rest)
    total = weights + rest_weights
    return {
        "quantized": bits / weights if weights else None,
        "all": (bits + rest_bits) / total if total else None,
    }


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, QuantizedLinear]]:
    """Every quantized layer with its first name."""
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            yield name, module


def aliases(model: nn.Module, name: str) -> list[str]:
    """The further names under which the model holds the module of that name."""
    module = model.get_submodule(name)
    every = model.named_modules(remove_duplicate=False)
    return [other for other, found in every if found is module and other != name]


def place(model: nn.Module, names: tuple[str, ...], layer: QuantizedLinear, facts: LayerFacts) -> None:
    """Puts a quantized layer into the model under each of its names, with the facts of its making."""
    layer.facts = facts
    for name in names:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def _quantize(
    model: nn.Module, targets: list[Target], calibration: Tensor | None, replace: Callable[[Target], float]
) -> Calibrated:
    """Layer after layer, or block after block where a method looks at the layers' inputs."""
    if any(target.method.statistics for target in targets):
        return quantize_calibrated(model, targets, calibration, replace)
    return Calibrated(sum(map(replace, targets)), 0)


def _replace(model: nn.Module, allow_fallback: bool, target: Target) -> float:
    """Replaces one layer and returns the seconds of its codes and their packing alone."""
    module: Any = model.get_submodule(target.layer.name)
    weight = _weight(module, target.layer)
    started = now_s(weight)
    try:
        made = _codes(target, weight)
        bias = None if module.bias is None else module.bias.detach()
        packed = QuantizedLinear.from_weight(
            made, bias, dtype=weight.dtype, name=target.layer.name, allow_fallback=allow_fallback
        )
    except Exception as error:
        if _out_of_memory(error):
            raise
        raise MethodError(f"{_describe(target)}: {_said(error)}") from error
    seconds = now_s(weight) - started
    moved = _relative_error(weight, packed.dequantize())
    if moved is not None and not math.isfinite(moved):
        raise MethodError(f"{_describe(target)}: the dequantized weight holds inf or nan")
    inputs = target.layer.inputs
    facts = LayerFacts(
        kind=target.layer.kind,
        method=target.method_name,
        params=target.method.params(),
        weight_error=moved,
        calibration_tokens=inputs.tokens if inputs else None,
        notes=dict(target.layer.notes),
    )
    packed.train(module.training)
    place(model, (target.layer.name, *target.aliases), packed, facts)
    return seconds


def _weight(module: nn.Module, layer: Layer) -> Tensor:
    """The weight as (out, in), contiguous; raises MethodError for one that is no plain finite float."""
    weight = module.weight
    if not isinstance(weight, Tensor) or weight.dtype not in FLOATS:
        raise MethodError(
            f"{layer.name}: its weight is {getattr(weight, 'dtype', type(weight))}, already quantized?"
        )
    if weight.is_meta:
        raise MethodError(f"{layer.name}: its weight was never loaded (it lies on the meta device)")
    if not bool(weight.isfinite().all()):
        raise MethodError(f"{layer.name}: its weight holds inf or nan; it was broken before quantization")
    return (weight.detach().t() if layer.kind == "Conv1D" else weight.detach()).contiguous()


def _codes(target: Target, weight: Tensor) -> PackedWeight:
    """The method's codes; raises MethodError where they break the promises of their format."""
    made = target.method.quantize_layer(weight, target.layer)
    if not isinstance(made, PackedWeight):
        raise MethodError(f"quantize_layer returned {type(made).__name__}, not an AffineWeight or Fp8Weight")
    wrong = made.why_invalid(weight.shape)
    if wrong is not None:
        raise MethodError(wrong)
    if made.collapsed() and bool(weight.min() != weight.max()):
        raise MethodError(
            f"every code is {made.codes.view(-1)[0].item()}: the weight collapsed to a constant"
        )
    return made


def _check_packed(model: nn.Module, target: Target) -> None:
    """Raises MethodError unless the layer lies in the model, packed, in as many bytes as it says."""
    layer = model.get_submodule(target.layer.name)
    if not isinstance(layer, QuantizedLinear):
        raise MethodError(f"{_describe(target)}: the layer is still a {type(layer).__name__}")
    state = {key: value for key, value in layer.state_dict().items() if key != "bias"}
    bits = 8 * sum(tensor.nbytes for tensor in state.values())
    claimed = layer.bits_per_weight * target.layer.in_features * target.layer.out_features
    if abs(bits - claimed) > 1e-6 * claimed:
        raise MethodError(f"{_describe(target)}: {bits} bits are stored where {claimed:.0f} are claimed")


def _relative_error(weight: Tensor, made: Tensor) -> float | None:
    """‖w − ŵ‖ / ‖w‖ (Frobenius), summed in float64 over slices of rows to bound the copies."""
    off = total = 0.0
    for rows, made_rows in zip(torch.split(weight, 128), torch.split(made, 128), strict=True):
        exact = rows.to(torch.float32)
        off += _norm(exact - made_rows.to(torch.float32)) ** 2
        total += _norm(exact) ** 2
    return (off / total) ** 0.5 if total else None


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values, dtype=torch.float64))


def _float_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, and biases of quantized layers, each once."""
    seen: set[int] = set()
    biases = (layer.bias for _, layer in quantized_layers(model) if layer.bias is not None)
    for tensor in (*model.parameters(), *biases):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


def _describe(target: Target) -> str:
    layer = target.layer
    params = ", ".join(f"{key}={value}" for key, value in target.method.params().items())
    shape = f"{layer.kind} {layer.out_features}×{layer.in_features}"
    return f"{layer.name} ({shape}), {target.method_name}({params})"


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, MethodError) else f"{type(error).__name__}: {error}"


def _out_of_memory(error: Exception) -> bool:
    """True for the machine's limit, which is not the method's fault; torch has no class for it on a CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)

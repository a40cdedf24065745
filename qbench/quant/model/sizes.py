"""Bytes of tensors and models: storages as they are found, each once, and the bytes that layers claim."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from qbench.errors import ModelError
from qbench.quant.model.convert import quantized_layers
from qbench.quant.model.skeleton import unsaved_buffers

METADATA = {
    "scales": ("scale",),
    "zeros": ("zero",),
    "permutation": ("permutation",),
    "input_scale": ("input_scale",),
    "outliers": ("outlier_columns", "outlier_weights"),
}
"""Part → buffers of a quantized layer: what it stores besides its codes."""


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors that a module keeps as or within plain attributes; some may repeat."""
    for module in model.modules():
        yield from _tensors_within(vars(module))


def _tensors_within(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors_within(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors_within(inner)


def resident_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind the tensors, each storage once."""
    return sum(dict(storage for tensor in tensors for storage in _storages(tensor)).values())


def _storages(tensor: Tensor) -> Iterator[tuple[object, int]]:
    """(identity, bytes) of each storage behind a tensor."""
    flatten = getattr(tensor, "__tensor_flatten__", None)  # torch's protocol for wrapper subclasses
    if flatten is not None:
        for name in flatten()[0]:
            yield from _storages(getattr(tensor, name))
    elif tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
        # Opaque to torch: no storage to identify, and detach() or .data make new handles of the same memory.
        yield ("mkldnn", id(tensor)), int(torch.ops.mkldnn._nbytes(tensor))
    elif tensor.layout == torch.strided:
        storage = tensor.untyped_storage()
        if tensor.device.type == "meta":
            raise ModelError("a tensor on the meta device has no bytes to count")
        yield (tensor.device, storage.data_ptr()), storage.nbytes()
    else:
        raise ModelError(f"memory of a tensor of layout {tensor.layout} cannot be counted")


def bytes_by_part(parts: Iterable[tuple[str, Iterable[Tensor]]]) -> dict[str, int]:
    """Bytes of the storages by part; one that several parts name counts once, for the first of them."""
    seen: set[object] = set()
    totals: dict[str, int] = {}
    for part, tensors in parts:
        found = dict(storage for tensor in tensors for storage in _storages(tensor))
        totals[part] = totals.get(part, 0) + sum(size for key, size in found.items() if key not in seen)
        seen |= found.keys()
    return totals


def weight_parts(model: nn.Module) -> dict[str, int]:
    """Resident bytes of a model, every storage in one part.

    `codes`: of quantized layers, with whatever layout and copies their kernels keep; `scales`, `zeros`,
    `permutation`, `input_scale`, `outliers`: what those layers store besides; `embeddings`: tables of
    embeddings, and the head where it was not quantized; `other`: all else, biases, norms and buffers that no
    file holds included. A weight of another library's tensor subclass counts in full under `other`.
    """
    layers = [layer for _, layer in quantized_layers(model)]
    metadata = [
        (part, [tensor for layer in layers for name in names if (tensor := getattr(layer, name)) is not None])
        for part, names in METADATA.items()
    ]
    biases = [layer.bias for layer in layers if layer.bias is not None]
    held = (tensor for layer in layers for tensor in _tensors_within(vars(layer)))
    return bytes_by_part(
        [
            *metadata,
            ("other", biases),
            ("codes", held),
            ("embeddings", _embeddings(model)),
            ("other", tensors_of(model)),
        ]
    )


def _embeddings(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield module.weight
    head = getattr(model, "get_output_embeddings", lambda: None)()  # a plain module in a test has none
    if isinstance(head, nn.Linear):
        yield head.weight


def saved_bytes(model: nn.Module) -> int:
    """Bytes of the tensors that a file of this model holds: packed codes and metadata, and the rest."""
    return resident_bytes(model.state_dict().values())


def model_bytes(model: nn.Module) -> int:
    """Bytes of every tensor that the modules hold, wherever they keep it; buffers that no file holds, such
    as rotary frequencies, only where they stand in a quantized layer."""
    packed = _packed(model)
    unsaved = {
        id(buffer) for key, buffer in unsaved_buffers(model).items() if key.rpartition(".")[0] not in packed
    }
    return resident_bytes(tensor for tensor in tensors_of(model) if id(tensor) not in unsaved)


def claimed_bytes(model: nn.Module) -> float:
    """Bytes by `bits_per_weight` of every layer, plus biases and the tensors that stayed."""
    total = float(rest_bytes(model))
    for _, layer in quantized_layers(model):
        total += layer.bits_per_weight * layer.spec.in_features * layer.spec.out_features / 8
        total += 0 if layer.bias is None else layer.bias.nbytes
    return total


def rest_bytes(model: nn.Module) -> int:
    """Bytes of the stored tensors outside the quantized layers."""
    packed = _packed(model)
    state = model.state_dict()
    return resident_bytes(tensor for key, tensor in state.items() if key.rpartition(".")[0] not in packed)


def _packed(model: nn.Module) -> set[str]:
    return {name for name, _ in quantized_layers(model)}

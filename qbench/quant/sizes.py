"""Bytes of tensors and models: storages as they are found, each once, and what the layers claim to hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from qbench.errors import ModelError
from qbench.quant.convert import quantized_layers
from qbench.quant.skeleton import unsaved_buffers


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

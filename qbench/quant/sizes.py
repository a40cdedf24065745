"""Bytes of a model by two roads: what its layers claim, and what its modules are found to hold."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qbench.quant.convert import quantized_layers
from qbench.quant.skeleton import unsaved_buffers


def claimed_bytes(model: nn.Module) -> float:
    """Bytes by `bits_per_weight` of every layer, plus biases and the tensors that stayed."""
    total = float(rest_bytes(model))
    for _, layer in quantized_layers(model):
        total += layer.bits_per_weight * layer.spec.in_features * layer.spec.out_features / 8
        total += 0 if layer.bias is None else layer.bias.nbytes
    return total


def rest_bytes(model: nn.Module) -> int:
    """Bytes of the stored tensors outside the quantized layers, shared ones once."""
    packed = {name for name, _ in quantized_layers(model)}
    state = model.state_dict()
    return distinct_bytes(
        {key: tensor for key, tensor in state.items() if key.rpartition(".")[0] not in packed}
    )


def resident_bytes(model: nn.Module) -> int:
    """Bytes of every tensor that the modules hold, wherever they keep it; buffers that no file holds, such
    as rotary frequencies, only where they stand in a quantized layer."""
    packed = {name for name, _ in quantized_layers(model)}
    unsaved = {
        id(buffer) for key, buffer in unsaved_buffers(model).items() if key.rpartition(".")[0] not in packed
    }
    held = {
        str(id(tensor)): tensor
        for module in model.modules()
        for tensor in _tensors_in(vars(module))
        if id(tensor) not in unsaved
    }
    return distinct_bytes(held)


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item)


def distinct_bytes(tensors: dict[str, Tensor]) -> int:
    """Bytes of the tensors, those of one storage once; a layout without a storage (oneDNN's) by its size."""
    sizes: dict[tuple[str, int], int] = {}
    for tensor in tensors.values():
        if tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            sizes["storage", storage.data_ptr()] = storage.nbytes()
        else:
            sizes["opaque", id(tensor)] = tensor.numel() * tensor.element_size()
    return sum(sizes.values())

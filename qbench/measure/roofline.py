"""Bytes that a decode step must read, operations that a prefill must compute: its side of the roofline.

Decode reads, once a step: the codes and metadata of every quantized layer in their stored form (whatever a
kernel makes of them), every other stored tensor, and the keys and values of all positions so far, the new one
included. Of an embedding table it reads one row a sequence, unless a tied head reads all of it.

Prefill computes 2 operations for each weight of a linear layer and each token; the head's for the last token
alone where the model can leave the others out; and of attention the half that is not in the future,
2 · (key width + value width) a pair and query head (a sliding window has fewer pairs). What the activation
functions, norms and softmax add is left out: below a percent.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from qbench.json_object import JsonObject
from qbench.measure.generation import Generation
from qbench.quant.kernels import LinearSpec
from qbench.quant.model.convert import quantized_layers
from qbench.quant.model.sizes import resident_bytes
from qbench.quant.selection.targets import candidates

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Config keys of models that read only some of their weights for a token."""


def work(generation: Generation, generated_tokens: int, dtype: str) -> JsonObject:
    """Bytes and operations of one workload that has run; null with the reason where not known."""
    model, (batch, length) = generation.model, generation.prompt.shape
    reason = _unknown(generation)
    if reason is not None:
        names = ("decode_weight_bytes", "decode_kv_bytes", "prefill_flop")
        return {**dict.fromkeys(names), "arithmetic": arithmetic(model, dtype), "reason": reason}
    return {
        "decode_weight_bytes": decode_weight_bytes(model, batch),
        "decode_kv_bytes": kv_bytes(generation.cache, length, generated_tokens),
        "prefill_flop": linear_flop(model, batch, length, generation.keeps_last)
        + attention_flop(generation.cache, model, batch, length),
        "arithmetic": arithmetic(model, dtype),
    }


def decode_weight_bytes(model: nn.Module, batch: int) -> int:
    """Stored bytes of the weights that one step reads."""
    packed = dict(quantized_layers(model))
    total = 0.0
    for layer in packed.values():
        total += layer.bits_per_weight * layer.spec.in_features * layer.spec.out_features / 8
        total += 0 if layer.bias is None else layer.bias.nbytes
    tables = _lookups(model)
    rest = [
        tensor
        for name, tensor in model.state_dict().items()
        if name.rpartition(".")[0] not in packed and tensor.data_ptr() not in tables
    ]
    rows = sum(batch * table.shape[1] * table.element_size() for table in tables.values())
    return round(total) + resident_bytes(rest) + rows


def kv_bytes(cache: Any, length: int, generated_tokens: int) -> float | None:
    """Keys and values that a step reads, mean over the steps; None for fewer than two tokens."""
    steps = range(length + 1, length + generated_tokens)
    if not steps:
        return None
    total = 0.0
    for layer in cache.layers:
        stored = layer.keys.nbytes + layer.values.nbytes
        window = _window(layer)
        total += stored / layer.keys.shape[-2] * sum(min(position, window) for position in steps)
    return total / len(steps)


def linear_flop(model: Any, batch: int, length: int, last_only: bool) -> int:
    """Operations of every linear layer of a prefill, quantized or not."""
    head = model.get_output_embeddings()
    sizes = [
        (layer, layer.spec.in_features * layer.spec.out_features) for _, layer in quantized_layers(model)
    ]
    for name, (shape, _) in candidates(model).items():
        sizes.append((model.get_submodule(name), shape.in_features * shape.out_features))
    return sum(
        2 * weights * batch * (1 if layer is head and last_only else length) for layer, weights in sizes
    )


def attention_flop(cache: Any, model: Any, batch: int, length: int) -> int:
    """Scores and weighted values of a causal prefill."""
    heads = model.config.get_text_config().num_attention_heads
    total = 0
    for layer in cache.layers:
        window = min(_window(layer), length)
        pairs = window * (window + 1) // 2 + (length - window) * window
        total += 2 * (layer.keys.shape[-1] + layer.values.shape[-1]) * heads * batch * int(pairs)
    return total


def arithmetic(model: nn.Module, dtype: str) -> str:
    """Arithmetic of the products where all quantized layers agree, else the dtype."""
    layers = [layer for _, layer in quantized_layers(model)]
    found = {products(layer.spec, dtype, layer.scale.device.type) for layer in layers}
    return found.pop() if len(found) == 1 else dtype


def products(spec: LinearSpec, dtype: str, device: str) -> str:
    """`int8` or `fp8` of a layer that rounds its inputs too (fp8 is multiplied as such on a GPU only)."""
    if spec.activations == "none":
        return dtype
    if spec.code == "int":
        return "int8"
    return "fp8" if device == "cuda" else dtype


def _lookups(model: nn.Module) -> dict[int, Tensor]:
    """Embedding tables of which a step reads only some rows, by address: no linear layer shares them."""
    linear = {model.get_submodule(name).weight.data_ptr() for name in candidates(model)}  # type: ignore[operator]
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    return {table.data_ptr(): table for table in tables if table.data_ptr() not in linear}


def _window(layer: Any) -> float:
    return getattr(layer, "sliding_window", None) or math.inf if layer.is_sliding else math.inf


def _unknown(generation: Generation) -> str | None:
    """Why the formulas do not hold for this model, or None."""
    config = generation.model.config.get_text_config()
    for key in EXPERTS:
        if (getattr(config, key, None) or 0) > 1:
            return f"a mixture of experts ({key}): what a token reads is up to its routing"
    if not isinstance(getattr(config, "num_attention_heads", None), int):
        return "its config does not say how many heads all layers have"
    for layer in generation.cache.layers:
        if getattr(layer, "keys", None) is None or getattr(layer, "values", None) is None:
            return f"its cache has a {type(layer).__name__}, which holds no keys and values"
    return None

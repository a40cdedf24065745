"""A quantized layer as one operator of torch, so that torch.compile keeps it whole in its graph.

A layer's own code looks kernels up and calls compiled C; a tracer can follow neither. The operator names the
layer by a number and tells the tracer only the shape and dtype of the result, so that a model compiles
without a break at each layer, and the layer runs, and counts its kernels, as it does in eager mode.

Defined on a plain `Library`: `torch.library.custom_op` wraps every call once more, for gradients that these
layers do not have.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Protocol

import torch
from torch import Tensor


class Runner(Protocol):
    def run(self, x: Tensor) -> Tensor:
        """x (…, K) → (…, N) on the layer's kernel."""


_LAYERS: weakref.WeakValueDictionary[int, Runner] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


def enrol(layer: Runner) -> int:
    """A number for this layer, good while the layer lives in this process."""
    number = next(_NUMBERS)
    _LAYERS[number] = layer
    return number


def _run(x: Tensor, layer: int, out_features: int) -> Tensor:
    return _LAYERS[layer].run(x)


def _shape(x: Tensor, layer: int, out_features: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], out_features)


_LIBRARY = torch.library.Library("qbench", "DEF")  # type: ignore[no-untyped-call]
_SIGNATURE = "(Tensor x, int layer, int out_features) -> Tensor"
_LIBRARY.define(f"linear{_SIGNATURE}")  # type: ignore[no-untyped-call]
# What looks at values to decide what to do (columns with outliers) cannot stand in a recorded CUDA graph.
_LIBRARY.define(f"linear_by_value{_SIGNATURE}", tags=(torch.Tag.cudagraph_unsafe,))  # type: ignore[no-untyped-call]
for _name in ("linear", "linear_by_value"):
    _LIBRARY.impl(_name, _run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"qbench::{_name}", _shape, lib=_LIBRARY)


def linear(x: Tensor, layer: int, out_features: int, by_value: bool) -> Tensor:
    """The layer that `enrol` gave the number to, as an operator; see the module's docstring."""
    operator = torch.ops.qbench.linear_by_value if by_value else torch.ops.qbench.linear
    result: Tensor = operator(x, layer, out_features)
    return result

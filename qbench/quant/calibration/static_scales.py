"""Scale of static activations: one for all inputs of a layer, from the calibration text."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.errors import MethodError
from qbench.quant.formats.weight import Activations
from qbench.quant.method.base import Layer
from qbench.quant.method.inputs import Inputs

SMALLEST_SCALE = 1e-30
"""Scale of a layer whose inputs were all zeros; its inverse is still a float32."""


def inputs_of(layer: Layer, why: str) -> Inputs:
    """The layer's inputs on the calibration text; MethodError that says what needs them (`why`)."""
    if layer.inputs is None:
        raise MethodError(f"{layer.name}: {why} need the layer's inputs on a calibration text")
    return layer.inputs


def int8_scale(layer: Layer, activations: Activations, device: torch.device) -> Tensor | None:
    """`static_scale` for int8 codes, −127 … 127; None where activations are not static."""
    return static_scale(layer, 127, device) if activations == "static" else None


def static_scale(layer: Layer, steps: float, device: torch.device) -> Tensor:
    """max|x| / steps over every input of the calibration text, float32 (1, 1): symmetric, so that zero
    stays zero. `steps` is the largest code: 127 for int8, 448 for E4M3.

    Raises MethodError where nothing was gathered, or where it holds inf or nan.
    """
    low, high = inputs_of(layer, "static activations").range()
    scale = max(-low, high) / steps
    if not scale < float("inf"):
        raise MethodError(f"{layer.name}: its inputs on the calibration text hold inf or nan")
    return torch.full((1, 1), max(scale, SMALLEST_SCALE), dtype=torch.float32, device=device)

"""Inputs, weights and references for the tests of GPTQ: the paper's own steps in float64, its loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qbench import AffineWeight, Layer
from qbench.quant.method import registry
from qbench.quant.method.inputs import Inputs

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
ORDERS = [(False, True), (False, False), (True, True), (True, False)]
"""act_order, static_groups."""


def text(k: int, tokens: int = 400, seed: int = 0) -> Tensor:
    """Inputs (tokens, K) that are correlated and of very different size."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(tokens, k, generator=generator) @ torch.randn(k, k, generator=generator)
    return mixed * torch.logspace(-1.5, 0.5, k)[torch.randperm(k, generator=generator)] / k**0.5


def inputs_of(x: Tensor) -> Inputs:
    made = Inputs(x.shape[1], ("hessian",), x.device)
    made.add(x)
    return made


def weight(n: int, k: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed)).to(dtype)


def run(w: Tensor, inputs: Inputs | None, **params: Any) -> tuple[AffineWeight, dict[str, Any]]:
    layer = Layer("a.layer", "Linear", w.shape[1], w.shape[0], inputs)
    made: AffineWeight = registry.make("gptq", params).quantize_layer(w, layer)
    assert made.why_invalid(w.shape) is None
    return made, layer.notes


def trace_loss(w: Tensor, made: AffineWeight, hessian: Tensor, damping: float) -> float:
    """tr(ΔW·H·ΔWᵀ) of the damped Hessian in float64."""
    exact = hessian.double()
    dead = exact.diagonal() == 0
    exact.diagonal()[dead] = 1
    exact = exact + damping * exact.diagonal().mean() * torch.eye(len(exact), dtype=torch.float64)
    off = torch.where(dead, 0, w.double()) - made.dequantize(torch.float64)
    return float(((off @ exact) * off).sum())


def published(w: Tensor, hessian: Tensor, order: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    """The paper's steps in float64, with H⁻¹ of the columns that are left taken anew at each; scales fixed.

    `scale` and `zero` are (N, K); codes (N, K) come back in the weight's own order.
    """
    moved, codes = w.double().clone(), torch.zeros(w.shape)
    left = order.tolist()
    while left:
        inverse = torch.linalg.inv(hessian[left][:, left])
        i = left[0]
        codes[:, i] = (moved[:, i] / scale[:, i] + zero[:, i]).round().clamp(0, top)
        error = (moved[:, i] - (codes[:, i] - zero[:, i]) * scale[:, i]) / inverse[0, 0]
        moved[:, left] -= error[:, None] * inverse[0]
        left = left[1:]
    return codes

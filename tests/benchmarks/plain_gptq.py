"""GPTQ as the paper's code runs it, written plainly: what the fast one is measured against.

One window at a time; a Hessian, a hook and a factor for each layer on its own; columns as columns of a
row-major weight, a dozen small operations for each; H⁻¹ taken and factorized. Static scales only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from qbench.quant.formats import affine

BLOCK = 128


class Layer:
    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer
        self.columns = layer.weight.shape[1]
        self.hessian = torch.zeros(self.columns, self.columns)
        self.samples = 0

    def add(self, module: Any, args: tuple[Tensor, ...], out: Tensor) -> None:
        inputs = args[0].reshape(-1, self.columns).t()
        added = inputs.shape[1]
        self.hessian *= self.samples / (self.samples + added)
        self.samples += added
        inputs = (2 / self.samples) ** 0.5 * inputs.float()
        self.hessian += inputs.matmul(inputs.t())

    def quantize(self, num_bits: int, group_size: int, act_order: bool, damp: float = 0.01) -> Tensor:
        """Codes (N, K); the layer's weight becomes what they stand for."""
        weight = self.layer.weight.data.float()
        rows, columns = weight.shape
        groups = weight.reshape(rows, -1, group_size)
        scale, low = affine.minmax_scale_zero(groups, num_bits, zero_in_range=True)
        scale = affine.stored_scale(scale, self.layer.weight.dtype)
        zero = affine.integer_zero(scale, low, num_bits).float()
        scale = scale.float()
        hessian = self.hessian
        dead = torch.diag(hessian) == 0
        hessian[dead, dead] = 1
        weight[:, dead] = 0
        order = torch.argsort(torch.diag(hessian), descending=True) if act_order else torch.arange(columns)
        weight, hessian = weight[:, order], hessian[order][:, order]
        hessian.diagonal().add_(damp * torch.mean(torch.diag(hessian)))
        hessian = torch.linalg.cholesky(hessian)
        hessian = torch.cholesky_inverse(hessian)
        inverse = torch.linalg.cholesky(hessian, upper=True)
        codes, made = torch.zeros_like(weight), torch.zeros_like(weight)
        for first in range(0, columns, BLOCK):
            last = min(first + BLOCK, columns)
            block = weight[:, first:last].clone()
            errors, own = torch.zeros_like(block), inverse[first:last, first:last]
            losses = torch.zeros_like(block)
            for i in range(last - first):
                column, pivot = block[:, i], own[i, i]
                group = int(order[first + i]) // group_size
                step, middle = scale[:, group : group + 1], zero[:, group : group + 1]
                code = torch.clamp(torch.round(column.unsqueeze(1) / step) + middle, 0, 2**num_bits - 1)
                rounded = (step * (code - middle)).flatten()
                codes[:, first + i], made[:, first + i] = code.flatten(), rounded
                losses[:, i] = (column - rounded) ** 2 / pivot**2
                error = (column - rounded) / pivot
                block[:, i:] -= error.unsqueeze(1).matmul(own[i, i:].unsqueeze(0))
                errors[:, i] = error
            weight[:, last:] -= errors.matmul(inverse[first:last, last:])
        back = torch.argsort(order)
        self.layer.weight.data = made[:, back].to(self.layer.weight.dtype)
        return codes[:, back]


class Caught(Exception):
    pass


@torch.no_grad()
def plain_gptq(
    model: Any, windows: Tensor, num_bits: int, group_size: int, act_order: bool
) -> dict[str, Tensor]:
    """Quantizes a Llama's blocks in place, layers of a block all on its float inputs; codes by name."""
    hidden: list[Tensor] = []
    kept: list[dict[str, Any]] = []

    def catch(module: Any, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        hidden.append(args[0])
        kept.append(kwargs)
        raise Caught

    hook = model.model.layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    for window in windows:
        with suppress(Caught):
            model(window[None], use_cache=False)
    hook.remove()
    codes: dict[str, Tensor] = {}
    for index, block in enumerate(model.model.layers):
        layers = {name: Layer(module) for name, module in block.named_modules() if type(module) is nn.Linear}
        hooks = [layer.layer.register_forward_hook(layer.add) for layer in layers.values()]
        for i, x in enumerate(hidden):
            block(x, **kept[i])
        for hook in hooks:
            hook.remove()
        for name, layer in layers.items():
            codes[f"model.layers.{index}.{name}"] = layer.quantize(num_bits, group_size, act_order)
        hidden = [block(x, **kept[i]) for i, x in enumerate(hidden)]
    return codes

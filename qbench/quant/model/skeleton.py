"""A transformers model without its weights: parameters on meta, buffers real.

Buffers that are not stored (rotary frequencies, causal masks) are made by the model's own constructor, so
they are right for every architecture, which rebuilding them from meta is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from qbench.json_object import JsonObject


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Context in which every parameter given to a module goes to meta at once; for one thread at a time."""
    usual = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=False)
        usual(self, name, param)

    nn.Module.register_parameter = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = usual  # type: ignore[method-assign]


def skeleton(config: Any, dtype: torch.dtype, attention: str | None) -> nn.Module:
    """The causal language model of a transformers config, in eval mode, with parameters on meta."""
    from transformers import AutoModelForCausalLM

    with parameters_on_meta():
        model: nn.Module = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention
        )
    return model.eval().requires_grad_(False)


def unsaved_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """The buffers that `state_dict` leaves out, by name."""
    saved = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name not in saved}


def fingerprint(buffer: torch.Tensor) -> JsonObject:
    """Facts that recognise a rebuilt buffer, with tolerance for another machine's last bit."""
    values = buffer.detach().double()
    finite = values[values.isfinite()]
    return {
        "dtype": str(buffer.dtype).removeprefix("torch."),
        "shape": list(buffer.shape),
        "finite": finite.numel(),
        "magnitude": float(finite.abs().sum()),
    }

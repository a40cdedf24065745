"""The hash of what a layer stores: equal for equal codes wherever they stand, another for any other bit."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch

from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.model.convert import codes_sha256
from tests.quant.layers import activations, affine

CASES: list[dict[str, Any]] = [
    {"num_bits": 4, "strategy": "group", "zero": "integer"},
    {"num_bits": 8, "strategy": "channel", "zero": "none"},
    {"num_bits": 3, "strategy": "tensor", "zero": "float"},
]


def _layer(case: dict[str, Any], bias: torch.Tensor | None = None) -> QuantizedLinear:
    return QuantizedLinear.from_weight(affine(32, 64, **case), bias, dtype=torch.bfloat16, name="it")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_running_and_copying_change_nothing(case: dict[str, Any]) -> None:
    layer = _layer(case)
    before = codes_sha256(layer)
    with torch.no_grad():
        layer(activations(1, 64, torch.bfloat16))  # a kernel may take the codes into a layout of its own
    layer.prepare()
    assert codes_sha256(layer) == before
    again = QuantizedLinear.from_config(layer.config(), device="meta")
    again.load_state_dict(layer.state_dict(), assign=True)
    assert codes_sha256(again) == before
    assert codes_sha256(_layer(case, bias=torch.ones(32))) == before


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_bit_of_a_code_or_a_scale_shows(case: dict[str, Any]) -> None:
    hashes = {codes_sha256(_layer(case))}
    for key in ("codes", "scale", "zero"):
        layer = _layer(case)
        tensor = getattr(layer, key)
        if tensor is not None:
            tensor.view(-1).view(torch.uint8)[0] ^= 1
            hashes.add(codes_sha256(layer))
    assert len(hashes) == (3 if case["zero"] == "none" else 4)


def test_it_is_the_sha256_of_names_types_shapes_and_bytes() -> None:
    layer = _layer(CASES[1])
    found = hashlib.sha256()
    for key, value in sorted(layer.state_dict().items()):
        raw = bytes(value.contiguous().reshape(-1).view(torch.uint8).tolist())
        found.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode() + raw)
    assert codes_sha256(layer) == found.hexdigest()

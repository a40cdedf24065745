"""int4, absmax and zeropoint beside torchao, optimum-quanto and bitsandbytes: codes first, then scales.

Each is asked for the same definition in its own words; which one that is stands in each test.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qbench import AffineWeight, Layer
from qbench.quant.method import registry
from tests.peers.codes import assert_same_codes, real_weights

pytestmark = pytest.mark.peers
LAYER = Layer("block.proj", "Linear", 256, 48)


def package(name: str, module: str | None = None) -> ModuleType:
    """A module of a package, or a skip that names the package."""
    try:
        return importlib.import_module(module or name)
    except ImportError as error:
        pytest.skip(f"package {name} is not installed, or not for this machine ({error}); extra `peers`")


def quantized(name: str, params: dict[str, Any], weight: Tensor) -> AffineWeight:
    made: AffineWeight = registry.make(name, params).quantize_layer(weight, LAYER)
    return made


def exact(weight: Tensor, scale: Tensor) -> Tensor:
    """w / s, in float64, whose halves are ties wherever the zero is an integer."""
    return (weight.double().view(len(weight), scale.shape[1], -1) / scale.double()[..., None]).flatten(1)


def torchao(weight: Tensor, config: Any) -> Any:
    model = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0], bias=False))
    model[0].weight = nn.Parameter(weight.clone())
    package("torchao", "torchao.quantization").quantize_(model, config)
    return model[0].weight


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("symmetric", [True, False])
def test_int4_in_groups_is_torchaos(symmetric: bool, size: int) -> None:
    library = package("torchao", "torchao.quantization")
    mapping = package("torchao", "torchao.quantization.quant_primitives").MappingType
    config = library.IntxWeightOnlyConfig(
        torch.int4, library.PerGroup(size), mapping.SYMMETRIC if symmetric else mapping.ASYMMETRIC
    )
    weight = real_weights()
    ours = quantized("int4", {"symmetric": symmetric, "group_size": size}, weight)
    theirs = torchao(weight, config)
    # The whole range puts a group's largest weight onto a tie, ±7.5 steps: one in a group may go either way.
    ties = 1 / size if symmetric else 1e-3
    assert_same_codes(ours.codes, theirs.qdata.int() + 8, exact(weight, ours.scale), ties)
    torch.testing.assert_close(ours.scale, theirs.scale, rtol=1e-6, atol=0)
    if ours.zero is not None:
        assert torch.equal(ours.zero.int(), theirs.zero_point.int() + 8)


def test_int8_in_channels_is_torchaos() -> None:
    # Its symmetric range is the whole one: 2·amax/255, codes −128 … 127.
    weight = real_weights()
    ours = quantized("absmax", {"scale_range": "full"}, weight)
    theirs = torchao(weight, package("torchao", "torchao.quantization").Int8WeightOnlyConfig())
    assert_same_codes(ours.codes, theirs.qdata.int() + 128, exact(weight, ours.scale), 1 / 256)
    torch.testing.assert_close(ours.scale, theirs.scale, rtol=1e-6, atol=0)


def test_int8_in_channels_is_quantos() -> None:
    library = package("optimum-quanto", "optimum.quanto")
    weight = real_weights()
    ours = quantized("absmax", {}, weight)
    scale = library.AbsmaxOptimizer()(weight, library.qint8, 0)
    theirs = library.quantize_weight(weight, library.qint8, 0, scale, optimized=False)
    assert_same_codes(ours.codes, theirs._data.int() + 128, exact(weight, ours.scale))
    torch.testing.assert_close(ours.scale, scale, rtol=1e-6, atol=0)


def test_int4_in_groups_is_quantos() -> None:
    # Its qint4 takes the raw range and a float shift of −min: w = q·s − shift.
    library = package("optimum-quanto", "optimum.quanto")
    weight = real_weights()
    params = {"num_bits": 4, "strategy": "group", "zero": "float", "zero_in_range": False}
    ours = quantized("zeropoint", params, weight)
    scale, shift = library.MaxOptimizer()(weight, library.qint4, 0, 64)
    theirs = library.quantize_weight(weight, library.qint4, 0, scale, shift, 64, optimized=False)
    position = (weight.double().view(-1, 64) + shift.double()) / scale.double()
    assert_same_codes(ours.codes.view(-1, 64), theirs._data.unpack().view(-1, 64), position)
    torch.testing.assert_close(ours.scale.view(-1, 1), scale, rtol=1e-6, atol=0)
    assert ours.zero is not None
    torch.testing.assert_close(ours.zero.view(-1, 1), shift / scale, rtol=1e-5, atol=1e-5)


def test_int8_in_channels_is_bitsandbytes() -> None:
    # It keeps amax, not amax/127, and takes 16-bit weights only.
    functional = package("bitsandbytes", "bitsandbytes.functional")
    weight = real_weights().half()
    ours = quantized("absmax", {}, weight.float())
    codes, amax, outliers = functional.int8_vectorwise_quant(weight)
    assert outliers is None
    assert_same_codes(ours.codes, codes.int() + 128, exact(weight, ours.scale))
    torch.testing.assert_close(ours.scale[:, 0], amax.float() / 127, rtol=1e-6, atol=0)

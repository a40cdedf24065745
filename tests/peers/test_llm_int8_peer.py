"""llm_int8 beside bitsandbytes: the same codes, and outputs as close as rounding to fp16 allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qbench import AffineWeight, Layer
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry

pytestmark = pytest.mark.peers


@pytest.fixture
def functional() -> Any:
    return pytest.importorskip("bitsandbytes").functional


def weight(seed: int) -> torch.Tensor:
    """fp16, which bitsandbytes takes alone; rows of differing size."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(96, 1, generator=generator) * 0.1
    return (torch.randn(96, 160, generator=generator) * rows).to(torch.float16)


def quantize(w: torch.Tensor) -> AffineWeight:
    method = registry.make("llm_int8", {"outlier_weights": "dequantized"})
    made = method.quantize_layer(w, Layer("a", "Linear", w.shape[1], w.shape[0]))
    assert isinstance(made, AffineWeight)
    return made


@pytest.mark.parametrize("seed", range(4))
def test_weight_codes_and_scales_are_the_same(functional: Any, seed: int) -> None:
    w = weight(seed)
    codes, amax, _ = functional.int8_vectorwise_quant(w.clone())
    made = quantize(w)
    exact = w.double() / made.scale.double()
    tie = (exact - exact.floor() - 0.5).abs() < 1e-4  # they multiply by 127/amax, we divide by amax/127
    differ = made.codes.int() - 128 != codes.int()
    assert bool((~differ | tie).all())
    assert float(differ.double().mean()) < 1e-3
    torch.testing.assert_close(made.scale.view(-1), amax.view(-1).float() / 127)


@pytest.mark.parametrize("columns", [(), (7,), (0, 30, 31, 159)])
@pytest.mark.parametrize("rows", [1, 24])
def test_outputs_are_the_same_up_to_fp16(functional: Any, rows: int, columns: tuple[int, ...]) -> None:
    """Through its operators: on a CPU its layer (0.50) multiplies dequantized weights by float inputs."""
    w = weight(9)
    x = torch.randn(rows, 160, generator=torch.Generator().manual_seed(rows)).clamp(-5, 5)
    x[:, list(columns)] = 20.0
    x = x.to(torch.float16)
    weight_codes, weight_amax, _ = functional.int8_vectorwise_quant(w.clone())
    codes, amax, found = functional.int8_vectorwise_quant(x.clone(), threshold=6.0)
    assert ([] if found is None else found.tolist()) == list(columns)
    expected, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(
        x, codes, weight_codes, amax, weight_amax, found, None
    )
    layer = QuantizedLinear.from_weight(quantize(w), dtype=torch.float16)
    torch.testing.assert_close(layer(x), expected, rtol=4e-3, atol=1e-3 * float(expected.abs().max()))
    assert layer.report()["outlier_share_seen"] == len(columns) / 160

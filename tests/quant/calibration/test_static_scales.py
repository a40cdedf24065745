"""Static int8 activations: the scale from the calibration text, its rounding, clipping and storage."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from qbench import Layer, MethodError
from qbench.errors import KernelError
from qbench.quant.calibration.static_scales import static_scale
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels import kernel
from qbench.quant.kernels.shared.activations import quantize_rows, quantize_static
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.method.inputs import Inputs
from tests.quant.layers import INPUT_SCALE, activations, affine


def layer_seen(x: torch.Tensor, statistic: str = "range") -> Layer:
    """A layer whose inputs on the calibration text were x."""
    seen = Inputs(x.shape[-1], (statistic,), "cpu")  # type: ignore[arg-type]
    seen.add(x)
    return Layer("block.proj", "Linear", x.shape[-1], 24, seen)


def weight() -> torch.Tensor:
    return torch.randn(24, 80, generator=torch.Generator().manual_seed(5)) * 0.05


@pytest.mark.parametrize("name", ["absmax", "zeropoint"])
def test_the_scale_is_the_largest_input_over_127(name: str) -> None:
    x = activations(40, 80, torch.float32)
    method = registry.make(name, {"activations": "static"})
    assert method.statistics == ("range",)
    assert method.needs_calibration
    made = method.quantize_layer(weight(), layer_seen(x))
    assert isinstance(made, AffineWeight)
    assert made.why_invalid(weight().shape) is None
    assert made.input_scale is not None
    assert float(made.input_scale) == pytest.approx(float(x.abs().max()) / 127, rel=1e-6)
    plain = registry.make(name, {"activations": "dynamic"}).quantize_layer(weight(), layer_seen(x))
    assert torch.equal(plain.codes, made.codes)


@pytest.mark.parametrize("name", ["absmax", "zeropoint"])
def test_only_static_activations_need_a_calibration_text(name: str) -> None:
    for acts in ("none", "dynamic"):
        assert registry.make(name, {"activations": acts}).statistics == ()
    with pytest.raises(MethodError, match=r"block\.proj: static activations need .*calibration text"):
        registry.make(name, {"activations": "static"}).quantize_layer(
            weight(), Layer("block.proj", "Linear", 80, 24)
        )


@pytest.mark.parametrize(
    "params",
    [{"activations": "static", "num_bits": 4}, {"activations": "static", "strategy": "group"}],
    ids=str,
)
def test_static_is_int8_times_int8(params: dict[str, object]) -> None:
    with pytest.raises(MethodError, match="activations 'static' is int8 times int8"):
        registry.make("absmax", params)


def test_inputs_that_were_all_zero_or_broken() -> None:
    assert 0 < float(static_scale(layer_seen(torch.zeros(3, 80)), 127, torch.device("cpu"))) < 1e-20
    broken = torch.ones(3, 80)
    broken[1, 2] = float("inf")
    with pytest.raises(MethodError, match="inf or nan"):
        static_scale(layer_seen(broken), 127, torch.device("cpu"))


def test_codes_by_their_definition_and_beyond_the_range() -> None:
    x = activations(50, 33, torch.bfloat16)
    scale = torch.full((1, 1), INPUT_SCALE)
    exact = x.double() / INPUT_SCALE
    codes, rows = quantize_static(x, scale, 128, torch.uint8)
    inside = exact.abs() <= 127
    assert 0.2 < inside.double().mean() < 1  # both sides are tried
    assert (codes.double() - 128 - exact)[inside].abs().max() <= 0.5 + 1e-4
    assert torch.equal(codes.double()[~inside] - 128, exact[~inside].sign() * 127)
    assert torch.equal(rows, scale.expand(50, 1))


def test_a_row_at_full_range_is_what_dynamic_makes_of_it() -> None:
    x = activations(20, 64, torch.float32)
    x[:, 0] = 5.0
    x.clamp_(-5, 5)
    codes, scale = (part.clone() for part in quantize_rows(x, 0, torch.int8))
    fixed, rows = quantize_static(x, torch.full((1, 1), 5.0 / 127), 0, torch.int8)
    torch.testing.assert_close(rows, scale)
    assert (codes.int() - fixed.int()).abs().max() <= 1  # a tie may fall either way
    assert (codes != fixed).double().mean() < 0.01


@pytest.mark.parametrize("zero", ["none", "integer"])
@pytest.mark.parametrize("name", ["int8_onednn", "int8_int_mm", "channel_dequant_gemm", "dequant_gemm"])
def test_a_kernel_gives_the_integer_sums(name: str, zero: str) -> None:
    """Scales 1 and whole inputs: every kernel's output is the int64 sum, clipped inputs included."""
    if kernel(name).missing("cpu"):
        pytest.skip(str(kernel(name).missing("cpu")))
    made = affine(24, 512, zero=zero, activations="static")  # type: ignore[arg-type]
    one = torch.ones(1, 1)
    made = dataclasses.replace(made, scale=torch.ones(24, 1), input_scale=one)
    layer = QuantizedLinear.from_weight(made, dtype=torch.float32, kernel=name)
    signed = made.codes.long() - (128 if made.zero is None else made.zero.long())
    for rows in (1, 5, 300):
        x = torch.randint(-200, 200, (rows, 512)).float()
        assert torch.equal(layer(x).long(), x.long().clamp(-127, 127) @ signed.t())


def test_the_scale_is_stored_counted_and_kept_through_a_cast() -> None:
    made = affine(24, 80, activations="static")
    layer = QuantizedLinear.from_weight(made, dtype=torch.float32)
    assert layer.bits_per_weight == pytest.approx(8 + 32 / 80 + 32 / (24 * 80))
    assert torch.equal(layer.state_dict()["input_scale"], torch.full((1, 1), INPUT_SCALE))
    x = activations(7, 80, torch.float32)
    before = layer(x)
    layer.half().float()
    assert torch.equal(layer(x), before)
    back = layer.to_weight()
    assert isinstance(back, AffineWeight)
    assert back.why_invalid(made.codes.shape) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_scale": None}, "no input_scale"),
        ({"activations": "dynamic"}, "take no input_scale"),
        ({"input_scale": torch.ones(1)}, "not float32"),
        ({"input_scale": torch.zeros(1, 1)}, "input_scale is 0"),
    ],
)
def test_what_contradicts_the_format_is_named(change: dict[str, object], said: str) -> None:
    made = dataclasses.replace(affine(24, 80, activations="static"), **change)  # type: ignore[arg-type]
    assert said in str(made.why_invalid(torch.Size((24, 80))))


def test_a_weight_only_kernel_refuses_it() -> None:
    with pytest.raises(KernelError, match="activations is static"):
        QuantizedLinear.from_weight(
            affine(32, 64, activations="static"), dtype=torch.bfloat16, kernel="int8_pack"
        )

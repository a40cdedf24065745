"""The layer: what it stores, what it says about itself, and that it survives saving, copying and casting."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qbench.errors import KernelError
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels import kernel
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations, affine

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
FORMATS = [
    {"num_bits": bits, "strategy": strategy, "zero": zero}
    for bits in WIDTHS
    for strategy in ("tensor", "channel", "group")
    for zero in ("none", "integer", "float")
]
DYNAMIC = {"activations": "dynamic"}
STATIC = {"activations": "static"}


def build(case: dict[str, Any], n: int = 19, k: int = 64, **options: Any) -> QuantizedLinear:
    return QuantizedLinear.from_weight(affine(n, k, **case), dtype=torch.bfloat16, name="it", **options)


@pytest.mark.parametrize("case", FORMATS, ids=str)
@pytest.mark.parametrize("scale_dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dequantize_is_what_was_packed(case: dict[str, Any], scale_dtype: torch.dtype) -> None:
    weight = affine(19, 64, **case, scale_dtype=scale_dtype)
    layer = QuantizedLinear.from_weight(weight, dtype=torch.bfloat16)
    back = layer.to_weight()
    assert isinstance(back, AffineWeight)
    assert torch.equal(back.codes, weight.codes)
    assert torch.equal(back.scale, weight.scale)
    assert (back.zero is None) == (weight.zero is None)
    if weight.zero is not None and back.zero is not None:
        assert torch.equal(back.zero, weight.zero)
    assert (back.num_bits, back.group_size, back.activations) == (weight.num_bits, weight.group_size, "none")
    assert torch.equal(layer.dequantize(), weight.dequantize())
    assert torch.equal(layer.dequantize(torch.bfloat16), weight.dequantize(torch.bfloat16))


@pytest.mark.parametrize(
    "case", [*FORMATS, DYNAMIC, {**DYNAMIC, "zero": "integer"}, {**DYNAMIC, "num_bits": 5}, STATIC], ids=str
)
def test_save_and_reload_give_the_same_output(case: dict[str, Any], tmp_path: Path) -> None:
    layer = QuantizedLinear.from_weight(
        affine(19, 64, **case), torch.linspace(-1, 1, 19), dtype=torch.bfloat16
    )
    x = activations(21, 64, torch.bfloat16)
    before = layer(x)
    save_file(layer.state_dict(), tmp_path / "it.safetensors")
    config = json.loads(json.dumps(layer.config()))
    for device in ("cpu", "meta"):
        again = QuantizedLinear.from_config(config, "again", device)
        again.load_state_dict(load_file(tmp_path / "it.safetensors"), assign=device == "meta")
        assert torch.equal(again(x), before)
        assert again.config() == layer.config()
        assert torch.equal(layer(x), before)


@pytest.mark.parametrize("case", [{}, DYNAMIC, STATIC, {"num_bits": 3, "strategy": "group"}], ids=str)
def test_copies_and_pickles_after_a_run(case: dict[str, Any]) -> None:
    layer, x = build(case), activations(3, 64, torch.bfloat16)
    before = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), before)
        assert torch.equal(twin.dequantize(), layer.dequantize())


@pytest.mark.parametrize("num_bits", WIDTHS)
def test_the_int8_kernel_stands_in_for_the_codes_and_gives_them_back(num_bits: int) -> None:
    if kernel("int8_onednn").missing("cpu"):
        pytest.skip(str(kernel("int8_onednn").missing("cpu")))
    layer = build({**DYNAMIC, "num_bits": num_bits}, n=64, k=64, kernel="int8_onednn")
    stored = layer.stored_codes().clone()
    layer.prepare()
    held = layer.resident_bytes()
    assert "codes" not in dict(layer.named_buffers())
    assert held["codes"] == 0
    assert 64 * 64 <= held["prepared"] <= 64 * 64 * 1.1
    assert torch.equal(layer.state_dict()["codes"], stored)
    layer.to(torch.float32)
    assert layer.codes is not None
    assert torch.equal(layer.codes, stored)
    assert layer.resident_bytes()["prepared"] == 0


def test_loading_a_state_replaces_what_a_kernel_had_prepared() -> None:
    for case in (DYNAMIC, {}):
        first, second = build({**case, "seed": 1}), build({**case, "seed": 2})
        x = activations(4, 64, torch.bfloat16)
        first(x)
        first.load_state_dict(second.state_dict())
        assert torch.equal(first(x), second(x))


def test_a_cast_leaves_the_format_alone() -> None:
    layer = QuantizedLinear.from_weight(
        affine(8, 64, zero="float", num_bits=4), torch.ones(8), dtype=torch.float32
    )
    before = layer.dequantize()
    layer.to(torch.bfloat16)
    assert layer.bias is not None
    assert layer.bias.dtype == torch.bfloat16
    assert torch.equal(layer.dequantize(), before)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"num_bits": 4, "strategy": "group", "group_size": 64, "scale_dtype": torch.float16}, 4 + 16 / 64),
        (
            {
                "num_bits": 4,
                "strategy": "group",
                "group_size": 64,
                "scale_dtype": torch.float16,
                "zero": "integer",
            },
            4 + (16 + 4) / 64,
        ),
        ({"num_bits": 3, "strategy": "channel"}, 3 + 32 / 128),
        ({"num_bits": 8, "strategy": "channel", "zero": "integer"}, 8 + (32 + 8) / 128),
        ({"num_bits": 2, "strategy": "channel", "zero": "float"}, 2 + 64 / 128),
        ({"num_bits": 5, "strategy": "tensor"}, 5 + 32 / (32 * 128)),
    ],
)
def test_bits_per_weight_by_closed_form(case: dict[str, Any], expected: float) -> None:
    layer = build(case, n=32, k=128)
    assert layer.bits_per_weight == pytest.approx(expected)
    state = {key: value for key, value in layer.state_dict().items() if key != "bias"}
    assert 8 * sum(value.nbytes for value in state.values()) == pytest.approx(expected * 32 * 128)


def test_padding_is_counted() -> None:
    layer = build({"num_bits": 4, "scale_dtype": torch.bfloat16}, n=2, k=9)
    assert layer.bits_per_weight == pytest.approx((16 * 4 + 16) / 9)


def test_the_report_says_what_ran() -> None:
    layer = build({}, k=64)
    for rows in (1, 4, 2, 100):
        layer(activations(rows, 64, torch.bfloat16))
    report = json.loads(json.dumps(layer.report()))
    assert report["requested"] == "auto"
    assert report["fallback_reason"] is None
    assert report["shape"] == [19, 64]
    assert sum(entry["calls"] for entry in report["executed"]) == 4
    (few,) = [entry for entry in report["executed"] if entry["min_rows"] == 1]
    assert few["kernel"] in ("packed_native", "int8_pack")
    assert few["max_rows"] >= 4
    assert few["calls"] >= 3
    assert report["planned"][0]["rows"].startswith("1..")
    assert report["planned"][-1]["rows"].endswith("..")
    layer.reset_counts()
    assert layer.report()["executed"] == []


def test_leading_dimensions_pass_through() -> None:
    layer, x = build({}), activations(12, 64, torch.bfloat16)
    assert torch.equal(layer(x.view(2, 2, 3, 64)).view(12, 19), layer(x))
    assert layer(x[0]).shape == (19,)
    assert layer(x[:0]).shape == (0, 19)
    assert torch.equal(layer(x.t().contiguous().t()), layer(x))


def test_a_kernel_that_cannot_run_is_an_error_with_the_way_out() -> None:
    with pytest.raises(
        KernelError, match=r"layer it: kernel int8_pack cannot run it: num_bits is 4.*allow_fallback"
    ):
        build({"num_bits": 4}, kernel="int8_pack")


def test_a_fallback_that_is_allowed_is_recorded() -> None:
    layer = build({"num_bits": 4}, kernel="int8_pack", allow_fallback=True)
    layer(activations(2, 64, torch.bfloat16))
    report = layer.report()
    assert report["fallback_reason"] == "int8_pack: num_bits is 4, it takes 8"
    assert report["executed"][0]["kernel"] in ("packed_native", "channel_dequant_gemm")


def test_another_dtype_at_run_time_is_no_silent_fallback() -> None:
    layer = build({}, kernel="int8_pack")
    with pytest.raises(KernelError, match="dtype is fp32"):
        layer(activations(2, 64, torch.float32))
    with pytest.raises(KernelError, match="float64"):
        layer(activations(2, 64, torch.float64))


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(KernelError, match="did you mean"):
        build({}, kernel="int8_onedn")


def test_gradients_are_refused_rather_than_lost() -> None:
    layer, x = build({}), activations(2, 64, torch.bfloat16).requires_grad_()
    with pytest.raises(KernelError, match="inference"):
        layer(x)
    with torch.no_grad():
        layer(x * 1)


@pytest.mark.parametrize("case", [{}, DYNAMIC, {"num_bits": 4}], ids=str)
def test_inference_mode_and_plain_mode_mix(case: dict[str, Any]) -> None:
    """Buffers that a kernel makes inside inference mode must serve outside of it too."""
    layer, x = build(case), activations(40, 64, torch.bfloat16)
    with torch.inference_mode():
        first = layer(x).clone()
    assert torch.equal(layer(x), first)
    layer.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), first)


def test_a_bad_config_is_refused() -> None:
    with pytest.raises(KernelError, match="not the config"):
        QuantizedLinear.from_config({"in_features": 3})


def test_it_lives_in_a_model() -> None:
    model = nn.Sequential(build({}), nn.Identity()).eval()
    assert model(activations(1, 64, torch.bfloat16)).shape == (1, 19)
    assert set(model.state_dict()) == {"0.codes", "0.scale"}


def test_codes_of_a_mapped_file_are_aligned_once() -> None:
    layer = build({})
    offset = torch.empty(19 * 64 + 8, dtype=torch.int8)[8:].view(19, 64)
    layer.load_state_dict({**layer.state_dict(), "codes": offset.copy_(layer.stored_codes())}, assign=True)
    assert layer.stored_codes().data_ptr() % 64
    layer(activations(1, 64, torch.bfloat16))
    first = layer.stored_codes().data_ptr()
    layer(activations(1, 64, torch.bfloat16))
    assert first % 64 == 0
    assert layer.stored_codes().data_ptr() == first


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_columns_in_an_order_of_their_own(dtype: torch.dtype, rows: int) -> None:
    given = affine(48, 128, num_bits=4, strategy="group", zero="integer")
    order = torch.randperm(128, generator=torch.Generator().manual_seed(3)).to(torch.int32)
    weight = dataclasses.replace(given, permutation=order)
    layer = QuantizedLinear.from_weight(weight, dtype=dtype)
    expected = torch.empty(48, 128)
    for column, feature in enumerate(order.tolist()):
        expected[:, feature] = given.dequantize()[:, column]
    assert torch.equal(weight.dequantize(), expected)
    assert torch.equal(layer.dequantize(), expected)
    x = activations(rows, 128, dtype)
    exact = x.double() @ expected.double().t()
    bound = (x.double().abs() @ expected.double().abs().t()) * 2 * torch.finfo(dtype).eps + 1e-6
    assert bool(((layer(x).double() - exact).abs() <= bound).all())
    again = QuantizedLinear.from_config(layer.config())
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    assert layer.bits_per_weight == pytest.approx(4 + (32 + 4) / 32 + 32 / 48)
    wrong = dataclasses.replace(given, permutation=order.clone().fill_(1))
    assert "permutation" in str(wrong.why_invalid(torch.Size((48, 128))))


@pytest.mark.parametrize("num_bits", [3, 4, 8])
@pytest.mark.parametrize("zero", ["none", "integer", "float"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_that_run_down_the_columns(num_bits: int, zero: Any, dtype: torch.dtype) -> None:
    weight = affine(96, 40, num_bits=num_bits, strategy="group_axis0", zero=zero, scale_dtype=dtype)
    assert weight.scale.shape == (3, 40)
    assert weight.why_invalid(torch.Size((96, 40))) is None
    assert "scale is" in str(dataclasses.replace(weight, axis=1).why_invalid(torch.Size((96, 40))))
    middle = torch.full((3, 40), 2.0 ** (num_bits - 1)) if weight.zero is None else weight.zero.float()
    expected = torch.empty(96, 40)
    for row in range(96):
        for column in range(40):
            shift, scale = middle[row // 32, column], weight.scale[row // 32, column].float()
            expected[row, column] = (float(weight.codes[row, column]) - shift) * scale
    assert torch.equal(weight.dequantize(), expected)
    layer = QuantizedLinear.from_weight(weight, dtype=dtype)
    assert layer.report()["strategy"] == "group_axis0"
    assert torch.equal(layer.dequantize(), expected)
    x = activations(7, 40, dtype)
    exact = x.double() @ expected.double().t()
    room = x.double().abs() @ expected.double().abs().t()
    assert bool(((layer(x).double() - exact).abs() <= room * 2 * torch.finfo(dtype).eps + 1e-6).all())
    again = QuantizedLinear.from_config(json.loads(json.dumps(layer.config())))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))

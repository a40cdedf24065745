"""absmax, zeropoint and int4 as users name them: parameters, refusals, codes against references."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qbench.methods
import torch

from qbench import AffineWeight, Layer, MethodError
from qbench.quant.method import registry
from qbench.quant.method.parameters import DEFAULT_GROUP_SIZE

LAYER = Layer("block.proj", "Linear", 192, 40)
FOLDER = Path(qbench.methods.__path__[0])

GRID: list[tuple[str, dict[str, Any]]] = [
    *(
        ("absmax", {"num_bits": bits, "strategy": strategy, "scale_range": scale_range})
        for bits, strategy, scale_range in product(
            range(2, 9), ("tensor", "channel", "group"), ("restricted", "full")
        )
    ),
    *(
        ("zeropoint", {"num_bits": bits, "strategy": strategy, "zero_in_range": inside, "zero": zero})
        for bits, strategy, (inside, zero) in product(
            range(2, 9),
            ("tensor", "channel", "group"),
            ((True, "integer"), (True, "float"), (False, "float")),
        )
    ),
    *(
        ("int4", {"strategy": strategy, **kind})
        for strategy, kind in product(
            ("channel", "group"),
            ({"scale_range": "restricted"}, {"scale_range": "full"}, {"symmetric": False}),
        )
    ),
]


def weight(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """40 × 192, rows of differing size, one of them all positive, one zero, one constant."""
    made = (
        torch.randn(40, 192, generator=torch.Generator().manual_seed(7))
        * torch.linspace(0.01, 0.2, 40)[:, None]
    )
    made[3] = made[3].abs() + 0.05
    made[4], made[5] = 0, 0.125
    return made.to(dtype)


def quantize(name: str, params: dict[str, Any], dtype: torch.dtype = torch.float32) -> AffineWeight:
    return registry.make(name, params).quantize_layer(weight(dtype), LAYER)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "params"), GRID)
def test_every_variant_stays_within_its_bound(name: str, params: dict[str, Any], dtype: torch.dtype) -> None:
    given = weight(dtype)
    made = quantize(name, params, dtype)
    assert made.why_invalid(given.shape) is None
    assert made.scale.dtype == dtype
    assert made.zero is None or made.zero.dtype == (dtype if params.get("zero") == "float" else torch.uint8)
    # `full` clips +amax by half a step more; a stored scale or zero is off by eps/2 of what it multiplies.
    steps = 2**made.num_bits
    half = 1.0 if params.get("scale_range") == "full" else 0.5
    bound = made.scale.float() * (half + steps * 2 * torch.finfo(dtype).eps) + 1e-7
    off = (given.float() - made.dequantize()).abs().reshape(40, made.scale.shape[1], -1)
    assert bool((off <= bound[..., None]).all()), float((off / bound[..., None]).max())


@pytest.mark.parametrize("num_bits", range(2, 9))
def test_absmax_equals_numpy(num_bits: int) -> None:
    given = weight().numpy()
    blocks = given.reshape(40, 3, 64)
    amax = np.abs(blocks).max(-1, keepdims=True)
    scale = np.where(amax > 0, amax / np.float32(2 ** (num_bits - 1) - 1), np.float32(1))
    expected = np.rint(blocks / scale).reshape(40, 192)
    made = quantize("absmax", {"num_bits": num_bits, "strategy": "group", "group_size": 64})
    np.testing.assert_array_equal(made.codes.numpy().astype(int) - 2 ** (num_bits - 1), expected)
    np.testing.assert_array_equal(made.scale.numpy(), scale[..., 0])


@pytest.mark.parametrize("num_bits", [3, 4, 8])
def test_zeropoint_equals_the_reference_written_row_by_row(num_bits: int) -> None:
    top = 2**num_bits - 1
    made = quantize("zeropoint", {"num_bits": num_bits})
    assert made.zero is not None
    for row, codes, scale, zero in zip(weight().double(), made.codes, made.scale, made.zero, strict=True):
        low, high = min(0.0, float(row.min())), max(0.0, float(row.max()))
        step = (high - low) / top if high > low else 1.0
        point = round(-low / step)
        assert float(scale) == pytest.approx(step, rel=1e-6)
        assert int(zero) == point
        exact = row / float(scale) + point
        near_tie = (exact - exact.floor() - 0.5).abs() < 1e-4
        expected = exact.round().clamp(0, top)
        assert bool(((codes == expected) | near_tie).all())


@pytest.mark.parametrize("strategy", ["channel", "group"])
@pytest.mark.parametrize("chosen", ["minmax", "percentile", "mse"])
def test_int4_is_the_general_methods_at_four_bits(strategy: str, chosen: str) -> None:
    common = {"strategy": strategy, "range": chosen}
    for own, name, other in (
        ({}, "absmax", {"scale_range": "full"}),
        ({"scale_range": "restricted"}, "absmax", {}),
        ({"symmetric": False}, "zeropoint", {}),
    ):
        ours = quantize("int4", {**common, **own})
        theirs = quantize(name, {**common, **other, "num_bits": 4})
        assert torch.equal(ours.codes, theirs.codes)
        assert torch.equal(ours.scale, theirs.scale)
        assert (ours.zero is None) == (theirs.zero is None)
        assert ours.zero is None or torch.equal(ours.zero, theirs.zero)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["tensor", "channel", "group"])
@pytest.mark.parametrize("name", ["absmax", "zeropoint"])
def test_a_percentile_range_leaves_an_outlier_out(name: str, strategy: str) -> None:
    given = weight()
    given[10, 100] = 50.0
    cut = registry.make(
        name, {"num_bits": 4, "strategy": strategy, "range": "percentile", "percentile": 98.0}
    )
    ours = cut.quantize_layer(given, LAYER).dequantize()
    whole = (
        registry.make(name, {"num_bits": 4, "strategy": strategy}).quantize_layer(given, LAYER).dequantize()
    )
    others = torch.arange(192) != 100
    assert (ours - given)[10, others].abs().mean() < 0.5 * (whole - given)[10, others].abs().mean()
    assert ours[10, 100] < 25


def test_codes_follow_the_rounded_scale() -> None:
    # In bf16 a scale is off by up to 1/512; codes from the unrounded one would be off by a quarter at 127.
    made = quantize("absmax", {"num_bits": 8}, torch.bfloat16)
    rounded = (weight(torch.bfloat16).double() / made.scale.double()).round().clamp(-127, 127)
    assert torch.equal(made.codes.double() - 128, rounded)


def test_strategies_have_the_scales_they_say() -> None:
    shapes = {"tensor": (1, 1), "channel": (40, 1), "group": (40, 192 // DEFAULT_GROUP_SIZE)}
    for strategy, shape in shapes.items():
        for name in ("absmax", "zeropoint"):
            assert quantize(name, {"strategy": strategy}).scale.shape == shape


def test_zero_is_exact_where_it_lies_in_the_range() -> None:
    for strategy in ("tensor", "channel", "group"):
        made = quantize("zeropoint", {"num_bits": 4, "strategy": strategy})
        assert bool((made.dequantize()[4] == 0).all())


def test_the_raw_range_is_finer_on_a_row_without_zero() -> None:
    raw = quantize("zeropoint", {"num_bits": 4, "zero_in_range": False, "zero": "float"})
    widened = quantize("zeropoint", {"num_bits": 4, "zero": "float"})
    assert float(raw.scale[3]) < float(widened.scale[3])
    assert torch.equal(raw.dequantize()[5], weight()[5])  # a constant row is exact


def test_the_default_group_size_is_a_parameter_of_the_cell() -> None:
    assert registry.make("absmax", {"strategy": "group"}).params()["group_size"] == DEFAULT_GROUP_SIZE
    assert registry.make("absmax", {"strategy": "channel"}).params()["group_size"] is None


@pytest.mark.parametrize(("name", "params"), GRID[::7])
def test_parameters_survive_json(name: str, params: dict[str, Any]) -> None:
    method = registry.make(name, params)
    assert registry.make(name, json.loads(json.dumps(method.params()))) == method


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"num_bits": 1}, "2 … 8"),
        ({"num_bits": 9}, "2 … 8"),
        ({"num_bits": "8"}, "num_bits = '8'"),
        ({"num_bits": True}, "num_bits = True"),
        ({"num_bits": 4.0}, "num_bits = 4.0"),
        ({"strategy": "row"}, "strategy = 'row'"),
        ({"group_size": 64}, "no meaning for strategy 'channel'"),
        ({"strategy": "group", "group_size": 1}, "at least 2"),
        ({"activations": "dynamic", "num_bits": 4}, "num_bits 8"),
        ({"activations": "dynamic", "strategy": "group"}, "tensor or channel"),
        ({"numbits": 8}, "did you mean 'num_bits'"),
        ({"range": "max"}, "range = 'max'"),
        ({"percentile": 99.0}, "no meaning for range 'minmax'"),
        ({"range": "mse", "percentile": 99.0}, "no meaning for range 'mse'"),
        ({"range": "percentile", "percentile": 100.0}, "between 50 and 100"),
        ({"range": "percentile", "percentile": 0.1}, "between 50 and 100"),
    ],
)
@pytest.mark.parametrize("name", ["absmax", "zeropoint"])
def test_wrong_parameters_are_refused(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(MethodError, match=said):
        registry.make(name, params)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"symmetric": False, "scale_range": "full"}, "no meaning for symmetric false"),
        ({"strategy": "channel", "group_size": 64}, "no meaning for strategy 'channel'"),
        ({"strategy": "tensor"}, "strategy = 'tensor'"),
        ({"percentile": 99.0}, "no meaning for range 'minmax'"),
        ({"num_bits": 4}, "no parameter 'num_bits'"),
    ],
)
def test_wrong_parameters_of_int4_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(MethodError, match=said):
        registry.make("int4", params)


def test_defaults_that_are_filled_in_are_parameters_of_the_cell() -> None:
    assert registry.make("int4", {}).params()["scale_range"] == "full"
    assert registry.make("int4", {"symmetric": False}).params()["scale_range"] is None
    assert registry.make("absmax", {"range": "percentile"}).params()["percentile"] == 99.9
    assert registry.make("absmax", {}).params()["percentile"] is None


def test_an_integer_zero_outside_its_range_is_refused() -> None:
    with pytest.raises(MethodError, match="zero: float"):
        registry.make("zeropoint", {"zero_in_range": False})


def test_a_method_is_a_short_file_without_torch_at_import() -> None:
    names = [name for name, source in registry.available().items() if source == "built-in"]
    assert {"absmax", "hqq", "int4", "none", "zeropoint"} <= set(names)
    for name in names:
        assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 80
    modules = "; ".join(f"import qbench.methods.{name}" for name in names)
    code = (
        f"import sys; {modules}; print([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Quantizing a model: which layers, by what, and what stays as it was."""

from __future__ import annotations

import copy
import gc
import time
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qbench import AffineWeight, Layer, Method, MethodError
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.model.convert import bits_per_weight, layer_table, quantize_model, quantized_layers
from qbench.quant.selection.targets import select
from tests.quant import tiny

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def make(name: str = "absmax", **params: Any) -> Method:
    return registry.make(name, params)


def simulated(model: Any, method: Method) -> Any:
    """The model with each target's weight replaced by its dequantized codes: what quantization must equal."""
    same = copy.deepcopy(model)
    for target in select(same, method, {}).targets:
        module = same.get_submodule(target.layer.name)
        transposed = target.layer.kind == "Conv1D"
        weight = module.weight.t() if transposed else module.weight
        made = method.quantize_layer(weight.contiguous(), target.layer).dequantize(weight.dtype)
        module.weight.data = made.t().contiguous() if transposed else made
    return same


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "method",
    [
        make(),
        make(num_bits=4, strategy="group", group_size=32),
        make("zeropoint", num_bits=3, strategy="tensor"),
    ],
    ids=["absmax8", "absmax4g32", "zeropoint3"],
)
def test_the_model_computes_with_its_codes(dtype: torch.dtype, family: str, method: Method) -> None:
    model = getattr(tiny, family)(dtype)
    expected = tiny.logits(simulated(model, method))
    done = quantize_model(model, method)
    assert len(done.quantized) == {"llama": 14, "gpt2": 8}[family]
    tolerance = 40 * torch.finfo(dtype).eps * float(expected.abs().max())
    torch.testing.assert_close(tiny.logits(model), expected, rtol=0, atol=tolerance)


def test_the_table_says_what_became_of_each_layer() -> None:
    model = tiny.llama()
    method = make(num_bits=4)
    weights = {
        name: module.weight.clone() for name, module in model.named_modules() if type(module) is nn.Linear
    }
    names = quantize_model(model, method).quantized
    table = layer_table(model)
    assert tuple(row["name"] for row in table) == names
    for row in table:
        weight = weights[row["name"]].double()
        n, k = weight.shape
        made = method.quantize_layer(weight.float(), Layer(row["name"], "Linear", k, n)).dequantize(
            torch.float64
        )
        assert row["weight_error"] == pytest.approx(float((weight - made).norm() / weight.norm()), rel=1e-5)
        assert (row["kind"], row["method"], row["shape"]) == ("Linear", "absmax", [n, k])


def test_bits_per_weight_by_closed_form() -> None:
    model = tiny.llama(torch.bfloat16)
    counts = [module.weight.numel() for name, module in model.named_modules() if name.endswith("_proj")]
    rest = sum(p.numel() for p in model.parameters()) - sum(counts)
    assert bits_per_weight(model) == {"quantized": None, "all": 16.0}
    quantize_model(model, make(num_bits=4, strategy="group", group_size=32))
    found = bits_per_weight(model)
    assert found["quantized"] == pytest.approx(4 + 16 / 32)
    assert found["all"] == pytest.approx((4.5 * sum(counts) + 16 * rest) / (sum(counts) + rest))


def test_a_layer_made_elsewhere_has_no_facts_but_a_row() -> None:
    made = make().quantize_layer(torch.randn(32, 64), Layer("0", "Linear", 64, 32))
    (row,) = layer_table(nn.Sequential(QuantizedLinear.from_weight(made, dtype=torch.float32)))
    assert (row["kind"], row["weight_error"], row["num_bits"]) == (None, None, 8)


def test_the_baseline_changes_nothing() -> None:
    model = tiny.llama()
    before = tiny.logits(model)
    assert quantize_model(model, make("none")).quantized == ()
    assert torch.equal(tiny.logits(model), before)
    assert layer_table(model) == []


def test_one_layer_at_a_time_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.llama()
    kept = [weakref.ref(m.weight) for n, m in model.named_modules() if n.endswith("_proj")]
    alive: list[int] = []
    usual = QuantizedLinear.from_weight

    def counting(*args: Any, **options: Any) -> QuantizedLinear:
        alive.append(sum(reference() is not None for reference in kept))
        return usual(*args, **options)

    gc.disable()
    try:
        monkeypatch.setattr(QuantizedLinear, "from_weight", counting)
        quantize_model(model, make())
    finally:
        gc.enable()
    assert alive == list(range(14, 0, -1))


def test_a_weight_that_is_not_contiguous() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 64))
    model[0].weight = nn.Parameter(torch.randn(64, 32).t())
    assert not model[0].weight.is_contiguous()
    weight = model[0].weight.detach().clone()
    quantize_model(model, make())
    assert float((model[0].dequantize() - weight).abs().max()) <= float(weight.abs().max()) / 127 * 0.51


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.full((4, 64), torch.nan), "inf or nan"),
        (torch.zeros(4, 64, dtype=torch.float64), "torch.float64"),
        (torch.empty(4, 64, device="meta"), "meta"),
    ],
)
def test_a_broken_weight_is_refused(weight: Tensor, said: str) -> None:
    model = nn.Sequential(nn.Linear(64, 4))
    model[0].weight = nn.Parameter(weight)
    with pytest.raises(MethodError, match=said):
        quantize_model(model, make())


@dataclass(frozen=True)
class Broken(Method):
    """Fails in the way that it is told."""

    how: str = "raise"

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        codes, scale = torch.zeros(weight.shape, dtype=torch.uint8), torch.ones(len(weight), 1)
        if self.how == "raise":
            raise IndexError("out of step")
        if self.how == "memory":
            raise MemoryError("full")
        if self.how == "float":
            return weight  # type: ignore[return-value]
        if self.how == "wide":
            codes = codes + 200
        if self.how == "overflow":
            codes, scale = codes + (torch.arange(weight.shape[1]) % 16).to(torch.uint8), scale * 3e38
        return AffineWeight(codes, scale, None, 4)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            "raise",
            r"model.layers.0.self_attn.q_proj \(Linear 64×64\), Broken\(how=raise\): IndexError: out of step",
        ),
        ("float", "returned Tensor, not an AffineWeight"),
        ("wide", "a code is 200, beyond 4 bits"),
        ("collapse", "collapsed to a constant"),
        ("overflow", "the dequantized weight holds inf or nan"),
    ],
)
def test_a_broken_method_is_named_with_its_layer(how: str, said: str) -> None:
    with pytest.raises(MethodError, match=said):
        quantize_model(tiny.llama(), Broken(how))


def test_running_out_of_memory_is_not_the_methods_fault() -> None:
    with pytest.raises(MemoryError):
        quantize_model(tiny.llama(), Broken("memory"))


def test_a_group_that_does_not_divide_names_layer_and_way_out() -> None:
    with pytest.raises(
        MethodError, match=r"q_proj: group_size 48 does not divide its 64 .* use 64 or 32 or 16"
    ):
        quantize_model(tiny.llama(), make(strategy="group", group_size=48))


def test_every_layer_found_is_a_quantized_linear() -> None:
    model = tiny.gpt2()
    names = quantize_model(model, make()).quantized
    assert tuple(name for name, _ in quantized_layers(model)) == names
    assert {row["kind"] for row in layer_table(model)} == {"Conv1D"}


def test_quantizing_seconds_are_the_methods_and_not_the_harnesss(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbench.quant.method.registry import make
    from qbench.quant.model import convert

    def slow(weight: torch.Tensor, dequantized: torch.Tensor) -> float:
        time.sleep(0.05)
        return 0.0

    monkeypatch.setattr(convert, "_relative_error", slow)
    model = torch.nn.Sequential(*(torch.nn.Linear(32, 32) for _ in range(10)))
    started = time.perf_counter()
    done = convert.quantize_model(model, make("absmax", {}))
    elapsed = time.perf_counter() - started
    assert len(done.quantized) == 10
    assert 0 < done.seconds <= elapsed - 0.5

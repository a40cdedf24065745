"""The conformance suite: built-in methods pass it, and each way of being broken fails its own check."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from qbench import AffineWeight, Layer, Method, MethodError
from qbench.quant import conformance
from qbench.quant.conformance import check
from qbench.quant.method import registry
from qbench.quant.model import convert
from qbench.run.conformance import check_method
from tests.quant import tiny


def outcomes(name: str) -> dict[str, conformance.Outcome]:
    return {outcome.name: outcome for outcome in check(name, lambda: tiny.llama(torch.bfloat16))}


def failed(name: str) -> set[str]:
    return {outcome.name for outcome in outcomes(name).values() if not outcome.passed}


BUILT_IN = sorted(
    name for name, source in registry.available().items() if source == "built-in" and name != "saved"
)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_methods_pass_on_the_embedded_model(name: str) -> None:
    start = time.perf_counter()
    found = check_method(name)
    assert [outcome for outcome in found if not outcome.passed] == []
    assert len(found) == (6 if name == "none" else 12)
    assert time.perf_counter() - start < 60


def test_a_calibrated_method_passes_given_windows_and_asks_for_them() -> None:
    windows = torch.randint(96, (24, 32), generator=torch.Generator().manual_seed(0))
    found = check("gptq", lambda: tiny.llama(torch.bfloat16), windows)
    assert [outcome for outcome in found if not outcome.passed] == []
    assert len(found) == 12
    assert "pass calibration=windows" in outcomes("gptq")["quantizes the model"].detail


@dataclass(frozen=True)
class Toy(Method):
    """Absmax in 8 bits, and a fault by choice; the base of the methods below."""

    num_bits: int = 8

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        return registry.make("absmax", {}).quantize_layer(weight, layer)


@dataclass(frozen=True)
class Random(Toy):
    """Takes its codes from the system's noise, whatever the seed."""

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        made = super().quantize_layer(weight, layer)
        noise = torch.randint(
            0, 2, made.codes.shape, generator=torch.Generator().manual_seed(time.perf_counter_ns())
        )
        return dataclasses.replace(made, codes=(made.codes.clamp(max=254) + noise).to(torch.uint8))


@dataclass(frozen=True)
class Mutating(Toy):
    """Works in the weight that it was given."""

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        made = super().quantize_layer(weight, layer)
        weight.mul_(0.5)
        return made


@dataclass(frozen=True)
class Useless(Toy):
    """Codes that have nothing to do with the weight."""

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        made = super().quantize_layer(weight, layer)
        return dataclasses.replace(made, codes=made.codes.flip(0, 1))


@dataclass(frozen=True)
class Failing(Toy):
    """Raises on some layer."""

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        if layer.name.endswith("down_proj"):
            raise ZeroDivisionError("no scale")
        return super().quantize_layer(weight, layer)


@dataclass(frozen=True)
class Forgetful(Toy):
    """A parameter that does not come back from JSON."""

    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Huge(Toy):
    """Scales whose products leave the dtype."""

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        made = super().quantize_layer(weight, layer)
        return dataclasses.replace(made, scale=torch.full_like(made.scale, 1e30))


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods above, found by the registry as plugins are."""
    found = {cls.__name__.lower(): cls for cls in (Toy, Random, Mutating, Useless, Failing, Forgetful, Huge)}
    usual, built_in = registry.method_class, registry.available()

    def method_class(name: str) -> type[Method]:
        return found[name] if name in found else usual(name)

    for module in (registry, __import__("qbench.quant.selection.overrides", fromlist=["x"])):
        monkeypatch.setattr(module, "method_class", method_class)
        monkeypatch.setattr(module, "available", lambda: {**built_in, **dict.fromkeys(found, "toys")})


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("toy", set()),
        ("random", {"same seed, same codes"}),
        ("mutating", {"weight given is not changed", "targets really packed"}),
        ("useless", {"targets really packed"}),
        ("failing", {"quantizes the model"}),
        ("forgetful", {"parameters survive JSON"}),
        ("huge", {"targets really packed", "output finite"}),
    ],
)
def test_each_fault_fails_its_own_check(name: str, fails: set[str]) -> None:
    assert failed(name) == fails


@pytest.mark.usefixtures("toys")
def test_details_name_layer_and_cause() -> None:
    detail = outcomes("failing")["quantizes the model"].detail
    assert "model.layers.0.mlp.down_proj" in detail
    assert "ZeroDivisionError: no scale" in detail


def broken_convert(model: Any, method: Method, *rest: Any, **options: Any) -> convert.Conversion:
    done = convert.quantize_model(model, method, *rest, **options)
    with torch.no_grad():
        model.model.norm.weight += 1
    return done


def test_a_change_elsewhere_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "quantize_model", broken_convert)
    assert failed("absmax") == {"nothing else changed"}


def test_a_float_copy_in_memory_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def hoarding(model: Any, method: Method, *rest: Any, **options: Any) -> convert.Conversion:
        kept = model.model.layers[0].mlp.down_proj.weight.detach().clone()
        done = convert.quantize_model(model, method, *rest, **options)
        model.model.layers[0].mlp.down_proj.register_buffer("hidden", kept, persistent=False)
        return done

    monkeypatch.setattr(conformance, "quantize_model", hoarding)
    assert "memory as claimed" in failed("absmax")


def test_a_checkpoint_that_loses_something_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def losing(folder: Any) -> Any:
        model: Any = convert_and_load(folder)
        model.model.layers[0].self_attn.q_proj.scale *= 1.01
        return model

    convert_and_load = conformance.load_quantized
    monkeypatch.setattr(conformance, "load_quantized", losing)
    assert failed("absmax") == {"save, load, same logits"}


def test_an_unknown_method_is_a_method_error() -> None:
    with pytest.raises(MethodError, match="did you mean 'absmax'"):
        check("absmx", tiny.llama)

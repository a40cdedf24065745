"""Which layers are quantized, and by what: patterns, ties, overrides, shared weights."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from qbench import Method, MethodError
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.model.convert import layer_table, quantize_model
from tests.quant import tiny


def make(name: str = "absmax", **params: Any) -> Method:
    return registry.make(name, params)


def test_the_tied_head_stays_tied_and_unquantized() -> None:
    model = tiny.llama()
    done = quantize_model(model, make())
    assert done.left == {"lm_head": "shares its weight with model.embed_tokens.weight"}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    untied = tiny.llama(tie=False)
    assert "lm_head" in quantize_model(untied, make()).quantized
    assert quantize_model(tiny.llama(tie=False), make(), {"exclude": ["lm_head"]}).left == {
        "lm_head": "excluded by 'lm_head'"
    }


def test_naming_only_a_tied_head_is_an_error() -> None:
    with pytest.raises(
        MethodError, match=r"matches only lm_head, which shares its weight with model\.embed_tokens"
    ):
        quantize_model(tiny.llama(), make(), {"include": ["lm_head"]})


def test_patterns_choose_layers() -> None:
    layers = {"include": ["*.mlp.*"], "exclude": ["*.0.*.up_proj"]}
    done = quantize_model(tiny.llama(), make(), layers)
    assert done.quantized == (
        "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.down_proj",
        "model.layers.1.mlp.gate_proj",
        "model.layers.1.mlp.up_proj",
        "model.layers.1.mlp.down_proj",
    )
    assert done.left["model.layers.0.mlp.up_proj"] == "excluded by '*.0.*.up_proj'"
    assert done.left["model.layers.0.self_attn.q_proj"] == "no include pattern matches"


@pytest.mark.parametrize("key", ["include", "exclude", "overrides"])
def test_a_pattern_without_a_layer_is_an_error(key: str) -> None:
    entry: Any = {"pattern": "*.donw_proj", "num_bits": 4} if key == "overrides" else "*.donw_proj"
    with pytest.raises(
        MethodError, match=rf"layers.{key}: '\*.donw_proj' matches no layer; did you mean '\*.down_proj'"
    ):
        quantize_model(tiny.llama(), make(), {key: [entry]})


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(MethodError, match="unknown key 'ignore'"):
        quantize_model(tiny.llama(), make(), {"ignore": []})


def test_overrides_change_parameters_and_methods_and_the_last_wins() -> None:
    model = tiny.llama()
    method = make(num_bits=4, strategy="group", group_size=32)
    rules = [
        {"pattern": "*.mlp.*", "num_bits": 8},
        {"pattern": "*.down_proj", "num_bits": 6, "strategy": "channel"},
        {"pattern": "*.q_proj", "method": "zeropoint", "num_bits": 5},
        {"pattern": "*.1.*.k_proj", "method": "none"},
    ]
    done = quantize_model(model, method, {"overrides": rules})
    table = {row["name"].removeprefix("model.layers."): row for row in layer_table(model)}
    assert table["0.mlp.up_proj"]["params"] == {**method.params(), "num_bits": 8}
    assert table["0.mlp.down_proj"]["params"] == {**make(num_bits=6).params()}
    assert table["1.self_attn.q_proj"]["method"] == "zeropoint"
    assert table["1.self_attn.q_proj"]["params"]["strategy"] == "channel"
    assert table["0.self_attn.v_proj"]["params"] == method.params()
    assert done.left["model.layers.1.self_attn.k_proj"] == "an override says method 'none'"
    assert type(model.model.layers[1].self_attn.k_proj) is nn.Linear


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"num_bits": 4}, "needs a pattern"),
        ({"pattern": "*.q_proj"}, "changes nothing"),
        ({"pattern": "*.q_proj", "num_bit": 4}, "did you mean 'num_bits'"),
        ({"pattern": "*.q_proj", "num_bits": "4"}, "num_bits = '4'"),
        ({"pattern": "*.q_proj", "num_bits": 9}, "2 … 8"),
        ({"pattern": "*.q_proj", "method": "absmix"}, "did you mean 'absmax'"),
        ({"pattern": "*.o_proj", "num_bits": 4}, "has no effect"),
    ],
)
def test_wrong_overrides_are_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(MethodError, match=said):
        quantize_model(tiny.llama(), make(), {"overrides": [rule], "exclude": ["*.o_proj"]})


class Pair(nn.Module):
    """Two linear layers of one weight, or one layer under two names."""

    def __init__(self, *, same_module: bool) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = self.first if same_module else nn.Linear(64, 64)
        self.third = nn.Linear(64, 64)
        if not same_module:
            self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.third(self.second(self.first(x)))
        return made


def test_two_layers_of_one_weight_are_refused() -> None:
    with pytest.raises(MethodError, match="first and second share one weight"):
        quantize_model(Pair(same_module=False), make())
    with pytest.raises(MethodError, match="first and second share one weight"):
        quantize_model(Pair(same_module=False), make(), {"exclude": ["second"]})
    assert quantize_model(Pair(same_module=False), make(), {"exclude": ["first", "second"]}).quantized == (
        "third",
    )


def test_one_layer_under_two_names_stays_one_layer() -> None:
    model = Pair(same_module=True)
    assert quantize_model(model, make()).quantized == ("first", "third")
    assert model.first is model.second
    assert isinstance(model.second, QuantizedLinear)


class NotQuiteLinear(nn.Linear):
    pass


def test_a_subclass_is_no_target() -> None:
    model = nn.Sequential(NotQuiteLinear(64, 64), nn.Linear(64, 64))
    assert quantize_model(model, make()).quantized == ("1",)
    assert type(model[0]) is NotQuiteLinear

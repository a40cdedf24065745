"""A quantized layer inside a compiled graph: one operator, the same numbers, the same counts."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.layers import activations, affine


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    yield
    torch.compiler.reset()


def layer(seed: int, **changes: object) -> QuantizedLinear:
    return QuantizedLinear.from_weight(affine(64, 64, seed=seed, **changes), dtype=torch.bfloat16)


def graph_of(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """What the model gives when compiled whole, and the operators of its graph."""
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    with torch.inference_mode():
        return torch.compile(model, backend=backend, fullgraph=True)(x), seen


def test_two_layers_compile_into_one_graph_and_give_the_same_bits() -> None:
    model = nn.Sequential(layer(0), nn.SiLU(), layer(1))
    x = activations(3, 64, torch.bfloat16)
    with torch.inference_mode():
        expected = model(x)
    found, operators = graph_of(model, x)
    assert torch.equal(found, expected)
    assert operators.count("qbench.linear") == 2


def test_the_layers_count_what_ran_and_not_what_was_traced() -> None:
    made = layer(0)
    x = activations(3, 64, torch.bfloat16)
    with torch.inference_mode():
        compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
        for _ in range(4):
            compiled(x)
    assert made.calls == 4
    executed = made.report()["executed"]
    assert [(entry["min_rows"], entry["max_rows"], entry["calls"]) for entry in executed] == [(3, 3, 4)]


def test_a_copy_is_a_layer_of_its_own() -> None:
    made = layer(0)
    twin = copy.deepcopy(made)
    twin.scale.mul_(2)
    x = activations(1, 64, torch.bfloat16)
    with torch.inference_mode():
        expected = twin(x)
    assert torch.equal(graph_of(twin, x)[0], expected)
    assert not torch.equal(graph_of(made, x)[0], expected)


def test_leading_dimensions_stay() -> None:
    made = layer(0)
    x = activations(6, 64, torch.bfloat16).view(2, 3, 64)
    assert graph_of(made, x)[0].shape == (2, 3, 64)


def test_a_replayed_graph_is_credited_to_the_kernel_of_its_rows() -> None:
    made = layer(0)
    with torch.inference_mode():
        made(activations(1, 64, torch.bfloat16))
        made(activations(300, 64, torch.bfloat16))
    before = {entry["kernel"]: entry["calls"] for entry in made.report()["executed"]}
    made.credit(1, 10)
    after = {entry["kernel"]: entry["calls"] for entry in made.report()["executed"]}
    assert sum(after.values()) == sum(before.values()) + 10
    assert after[made.report()["planned"][0]["kernel"]] == 11 + (len(before) == 1)


def test_layers_that_look_at_values_are_kept_out_of_cuda_graphs() -> None:
    assert torch.Tag.cudagraph_unsafe in torch.ops.qbench.linear_by_value.default.tags
    assert torch.Tag.cudagraph_unsafe not in torch.ops.qbench.linear.default.tags

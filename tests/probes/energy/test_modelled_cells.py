"""The operations of the modelled energy, counted from a record, against those that a decode step runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from qbench.cell import Cell, ModelRef
from qbench.models.load import model_facts
from qbench.probes.energy.modelled import products
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.model.convert import layer_table, quantize_model
from qbench.results.store.record import Record
from tests.probes.conftest import tiny_llama

REF = ModelRef("m", "builtin:austen-6m", "sha256:0")


def counted(model: Any) -> dict[str, float]:
    """Multiply-adds of one token in every linear layer that a forward really calls, by its kind."""
    found = {"Linear": 0.0, "QuantizedLinear": 0.0}

    def add(module: Any, args: Any, out: Any) -> None:
        found[type(module).__name__] += (
            module.in_features * module.out_features * (out.numel() / out.shape[-1])
        )

    kinds = (nn.Linear, QuantizedLinear)
    hooks = [module.register_forward_hook(add) for module in model.modules() if isinstance(module, kinds)]
    with torch.inference_mode():
        model(torch.tensor([[1]]))
    for hook in hooks:
        hook.remove()
    return found


def record_of(model: Any, facts: dict[str, Any], method: str) -> Record:
    cell = Cell(REF, method, {}, "fp32", "cpu", method)
    return Record(cell, "s", "r", "ok", model=facts, layers=layer_table(model))


@pytest.mark.parametrize("which", ["tied", "untied"])
def test_products_are_those_of_a_decode_step(which: str, austen: Any) -> None:
    """To 1%: a record counts norms as well, which are no products of a matrix."""
    model = (
        copy.deepcopy(austen) if which == "tied" else tiny_llama(tie_word_embeddings=False, hidden_size=256)
    )
    facts = model_facts(model, None, REF)
    assert facts["tied_head"] == (which == "tied")
    plain = products(record_of(model, facts, "none"))
    assert plain == {"fp32": pytest.approx(counted(model)["Linear"], rel=0.01)}
    quantize_model(model, registry.make("absmax", {"num_bits": 8, "activations": "dynamic"}), {})
    packed, truth = products(record_of(model, facts, "absmax")), counted(model)
    assert packed is not None
    assert packed["int8"] == truth["QuantizedLinear"] > 0
    assert packed["fp32"] == pytest.approx(truth["Linear"], abs=0.01 * packed["int8"])

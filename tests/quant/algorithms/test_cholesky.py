"""The factor of a layer's Hessian: its definition, damping, and one for all layers of an input."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from qbench import MethodError
from qbench.quant.algorithms.cholesky import factorized
from tests.quant.algorithms.gptq_cases import (
    inputs_of,
    run,
    text,
    weight,
)


def test_few_tokens_make_a_singular_hessian_that_damping_mends() -> None:
    made, notes = run(weight(8, 64), inputs_of(text(64, tokens=5)))
    assert notes["damping"] == 0.01
    assert bool(made.dequantize().isfinite().all())


def test_damping_grows_until_there_is_a_factor_and_is_told() -> None:
    x = text(64, tokens=5)
    _, notes = run(weight(8, 64), inputs_of(x), damp=0.0)
    assert 0 < notes["damping"] < 1e-3
    hessian = torch.eye(8)
    hessian[0, 1] = hessian[1, 0] = 1.05
    assert factorized(hessian.clone(), 0.01, act_order=False).damping == pytest.approx(0.1)
    hessian[0, 1] = hessian[1, 0] = 1e6
    with pytest.raises(MethodError, match=r"no Cholesky factor, with damp 0.01 and up to 10"):
        factorized(hessian, 0.01, act_order=True)


def test_float64_comes_before_more_damping() -> None:
    """Rank one plus a damping that float32 loses beside it, and float64 does not."""
    v = torch.full((64,), 1e4)
    hessian = torch.outer(v, v)
    found = factorized(hessian.clone(), 1e-8, act_order=False)
    assert found.damping == 1e-8
    assert bool(found.moves.isfinite().all())


@pytest.mark.parametrize("order", [False, True])
def test_the_factor_is_the_hessians(order: bool) -> None:
    x = text(40)
    hessian = inputs_of(x).hessian()
    found = factorized(hessian.clone(), 0.01, order)
    upper = found.moves.double().t() * found.diagonal.double()
    damped = hessian.double() + 0.01 * hessian.double().diagonal().mean() * torch.eye(40, dtype=torch.float64)
    torch.testing.assert_close(upper @ upper.t(), damped[found.order][:, found.order], rtol=1e-5, atol=1e-5)
    assert torch.equal(upper, upper.triu())
    sizes = hessian.diagonal()[found.order]
    assert bool((sizes.diff() <= 0).all()) == order


def test_layers_of_one_input_share_its_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbench.quant.algorithms import gptq

    made: list[int] = []
    usual = gptq.factorized

    def counting(*args: Any) -> Any:
        made.append(1)
        return usual(*args)

    monkeypatch.setattr(gptq, "factorized", counting)
    inputs = inputs_of(text(64))
    for seed in range(3):
        run(weight(8, 64, seed), inputs)
    assert len(made) == 1
    run(weight(8, 64), inputs, damp=0.1)
    assert len(made) == 2

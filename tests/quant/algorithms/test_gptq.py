"""GPTQ against what it must equal: rounding to nearest, the paper's own steps in float64, its loss."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench import Layer, MethodError
from qbench.quant.algorithms.cholesky import factorized
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from tests.quant.algorithms.gptq_cases import (
    DTYPES,
    ORDERS,
    inputs_of,
    published,
    run,
    text,
    trace_loss,
    weight,
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("act_order", "static"), ORDERS)
@pytest.mark.parametrize(
    "params", [{"strategy": "channel"}, {"group_size": 16}, {"group_size": 48, "num_bits": 3, "damp": 0.2}]
)
def test_equal_uncorrelated_inputs_give_round_to_nearest(
    dtype: torch.dtype, act_order: bool, static: bool, params: dict[str, Any]
) -> None:
    w = weight(24, 96, dtype=dtype)
    inputs = inputs_of(torch.eye(96) * 1.7)
    if params.get("strategy") == "channel" and not static:
        pytest.skip("no groups to take in turn")
    strategy = params.get("strategy", "group")
    for symmetric in (False, True):
        made, _ = run(
            w, inputs, symmetric=symmetric, act_order=act_order, static_groups=static, block_size=20, **params
        )
        name, extra = ("absmax", {"scale_range": "full"}) if symmetric else ("zeropoint", {})
        plain = {"num_bits": params.get("num_bits", 4), "group_size": params.get("group_size"), **extra}
        expected = registry.make(name, {"strategy": strategy, **plain}).quantize_layer(
            w, Layer("a.layer", "Linear", 96, 24)
        )
        assert torch.equal(made.codes, expected.codes)
        assert torch.equal(made.scale, expected.scale)
        assert (made.zero is None) == symmetric
        assert symmetric or torch.equal(made.zero, expected.zero)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("group_size", [8, None])
def test_codes_are_those_of_the_papers_steps(
    symmetric: bool, act_order: bool, group_size: int | None
) -> None:
    n, k = 40, 48
    w, x = weight(n, k), text(k)
    strategy = "group" if group_size else "channel"
    made, _ = run(
        w, inputs_of(x), symmetric=symmetric, act_order=act_order, strategy=strategy, group_size=group_size
    )
    hessian = 2 / len(x) * x.double().t() @ x.double()
    order = hessian.diagonal().argsort(descending=True) if act_order else torch.arange(k)
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(k, dtype=torch.float64)
    repeat = group_size or k
    scale = made.scale.double().repeat_interleave(repeat, 1)
    zero = torch.full_like(scale, 8) if made.zero is None else made.zero.double().repeat_interleave(repeat, 1)
    expected = published(w, hessian, order, scale, zero, 15)
    same = (made.codes == expected).all(dim=1)  # −max|w| is a tie where symmetric, and a row follows its tie
    assert int((~same).sum()) <= (1 if symmetric else 0)
    nearest = (w / scale + zero).round().clamp(0, 15)
    assert float((made.codes == nearest).double().mean()) < 0.9, (
        "nothing was made good: the test tests nothing"
    )


def test_codes_are_exactly_the_papers_where_arithmetic_is_exact() -> None:
    """Scales, weights and Cholesky factor are small integers over powers of two, without any tie."""
    generator = torch.Generator().manual_seed(3)
    k, n = 16, 64
    upper = torch.randint(-2, 3, (k, k), generator=generator).triu(1) / 4.0 + torch.eye(k)
    hessian = upper @ upper.t()
    w = torch.randint(-31, 32, (n, k), generator=generator) / 32.0 + 1 / 512
    from qbench.quant.algorithms import gptq

    factor = factorized(hessian.clone(), 0.0, act_order=False)
    assert factor.damping == 0
    torch.testing.assert_close(factor.moves, (upper / upper.diagonal()).t())
    scale, zero = torch.full((n, 1), 1 / 8), torch.full((n, 1), 8, dtype=torch.uint8)
    known = gptq.Known(scale, zero, torch.zeros(k, dtype=torch.int64))
    codes, _ = gptq.rounded(w.t().contiguous(), factor, known, gptq._spans(k, k, 5), 15)
    wide = (scale.double().expand(n, k), zero.double().expand(n, k))
    expected = published(w, hessian.double(), torch.arange(k), *wide, 15)
    assert torch.equal(codes.t().float(), expected)


def test_scales_of_a_group_reached_come_from_columns_that_all_earlier_ones_moved() -> None:
    n, k, size = 24, 48, 12
    w, x = weight(n, k), text(k)
    made, _ = run(w, inputs_of(x), act_order=False, static_groups=False, group_size=size, block_size=5)
    hessian = 2 / len(x) * x.double().t() @ x.double()
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(k, dtype=torch.float64)
    moved = w.double().clone()
    assert made.zero is not None
    for i in range(k):
        group = i // size
        if i % size == 0:
            block = moved[:, i : i + size]
            low, high = block.amin(1).clamp(max=0), block.amax(1).clamp(min=0)
            torch.testing.assert_close(made.scale[:, group].double(), (high - low) / 15, rtol=1e-4, atol=0)
        inverse = torch.linalg.inv(hessian[i:, i:])
        scale, zero = made.scale[:, group].double(), made.zero[:, group].double()
        error = (moved[:, i] - (made.codes[:, i].double() - zero) * scale) / inverse[0, 0]
        moved[:, i:] -= error[:, None] * inverse[0]


@given(
    n=st.integers(1, 12),
    groups=st.integers(1, 4),
    size=st.sampled_from([4, 8, 12]),
    bits=st.integers(2, 8),
    order=st.sampled_from(ORDERS),
    block=st.sampled_from([1, 3, 8, 128]),
    symmetric=st.booleans(),
    choice=st.sampled_from(["minmax", "mse"]),
    tokens=st.sampled_from([3, 200]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_loss_is_the_trace(
    n: int,
    groups: int,
    size: int,
    bits: int,
    order: tuple[bool, bool],
    block: int,
    symmetric: bool,
    choice: str,
    tokens: int,
    seed: int,
) -> None:
    """Σ Err² = tr(ΔW·H·ΔWᵀ) for any order and grouping, the damping that was used included."""
    w, x = weight(n, groups * size, seed), text(groups * size, tokens, seed)
    inputs = inputs_of(x)
    made, notes = run(
        w,
        inputs,
        num_bits=bits,
        group_size=size,
        act_order=order[0],
        static_groups=order[1],
        block_size=block,
        symmetric=symmetric,
        range=choice,
    )
    expected = trace_loss(w, made, inputs.hessian(), notes["damping"])
    assert notes["loss"] == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert (made.permutation is not None) == (order == (True, False))


@pytest.mark.parametrize(("act_order", "static"), ORDERS)
def test_blocks_change_nothing_but_rounding(act_order: bool, static: bool) -> None:
    w, inputs = weight(64, 256), inputs_of(text(256))
    params = {"act_order": act_order, "static_groups": static, "group_size": 32}
    found = [run(w, inputs, block_size=size, **params) for size in (1, 7, 128, 1000)]
    first, notes = found[0]
    for made, others in found[1:]:
        assert float((made.codes == first.codes).float().mean()) > 0.999
        assert others["loss"] == pytest.approx(notes["loss"], rel=1e-3)


@pytest.mark.parametrize(("act_order", "static"), ORDERS)
def test_rows_do_not_know_of_each_other(act_order: bool, static: bool) -> None:
    w, inputs = weight(48, 64), inputs_of(text(64))
    params = {"act_order": act_order, "static_groups": static, "group_size": 16}
    made, _ = run(w, inputs, **params)
    turned = torch.randperm(48, generator=torch.Generator().manual_seed(5))
    other, _ = run(w[turned], inputs, **params)
    assert float((other.codes == made.codes[turned]).float().mean()) > 0.999
    alone, _ = run(w[:1], inputs, **params)
    assert float((alone.codes == made.codes[:1]).float().mean()) > 0.98, "a layer of one row"


@pytest.mark.parametrize(("act_order", "static"), ORDERS)
def test_the_output_error_is_less_than_that_of_rounding_to_nearest(act_order: bool, static: bool) -> None:
    w, x = weight(64, 128), text(128)
    made, _ = run(w, inputs_of(x), num_bits=3, group_size=32, act_order=act_order, static_groups=static)
    nearest = registry.make("zeropoint", {"num_bits": 3, "strategy": "group", "group_size": 32})
    plain = nearest.quantize_layer(w, Layer("", "Linear", 128, 64))
    errors = [float((x @ (w - one.dequantize()).t()).norm()) for one in (made, plain)]
    assert errors[0] < (0.6 if act_order else 0.9) * errors[1]


def test_columns_without_input_are_zero_and_told() -> None:
    x = text(64)
    x[:, [3, 40]] = 0
    w = weight(16, 64)
    for act_order, static in ORDERS:
        params = {"act_order": act_order, "static_groups": static, "group_size": 16}
        made, notes = run(w, inputs_of(x), **params)
        assert notes["dead_columns"] == 2
        assert torch.equal(made.dequantize()[:, [3, 40]], torch.zeros(16, 2))
        assert notes["loss"] == pytest.approx(
            trace_loss(w, made, inputs_of(x).hessian(), notes["damping"]), rel=1e-3
        )


def test_groups_in_order_of_activation_run_with_their_columns_permuted() -> None:
    w, x = weight(32, 128), text(128)
    made, _ = run(w, inputs_of(x), act_order=True, static_groups=False, group_size=32)
    assert made.permutation is not None
    sizes = (x * x).sum(0)[made.permutation.long()]
    assert bool((sizes.diff() <= 1e-3).all())
    layer = QuantizedLinear.from_weight(made, dtype=torch.float32)
    batch = x[:20]
    torch.testing.assert_close(layer(batch), batch @ made.dequantize().t(), rtol=1e-4, atol=1e-3)
    errors = [float((x @ (w - made.dequantize()).t()).norm()), float((x @ w.t()).norm())]
    assert errors[0] < 0.1 * errors[1]
    fresh = QuantizedLinear.from_config(layer.config())
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(batch), layer(batch))


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_range_is_the_one_of_the_plain_methods(symmetric: bool) -> None:
    w = weight(8, 64)
    made, _ = run(w, inputs_of(text(64)), range="mse", num_bits=3, group_size=16, symmetric=symmetric)
    name, extra = ("absmax", {"scale_range": "full"}) if symmetric else ("zeropoint", {})
    params = {"num_bits": 3, "strategy": "group", "group_size": 16, "range": "mse", **extra}
    plain = registry.make(name, params).quantize_layer(w, Layer("", "Linear", 64, 8))
    assert torch.equal(made.scale, plain.scale)
    assert not torch.equal(made.scale, run(w, inputs_of(text(64)), num_bits=3, group_size=16)[0].scale)


@pytest.mark.parametrize(("n", "block"), [(1, 1), (63, 5), (64, 128), (200, 130)])
def test_the_walk_in_c_is_the_one_in_torch(n: int, block: int) -> None:
    from qbench.quant.algorithms import gptq
    from qbench.quant.kernels.base import native

    if native.why_not():
        pytest.skip(f"not built: {native.why_not()}")
    generator = torch.Generator().manual_seed(n)
    columns = torch.randn(block, n, generator=generator)
    moves = (torch.randn(block + 3, block + 7, generator=generator) / 8).tril()[3:, :block]
    scales = [
        (torch.rand(n, generator=generator) / 4 + 0.1, torch.randint(16, (n,), generator=generator).float())
        for _ in range(block)
    ]
    found = []
    for walk in (gptq._round_block, native.round_columns):
        wanted = columns + torch.linspace(-1, 1, n)
        left, codes = torch.full((block, n), torch.nan), torch.full((block, n), 99, dtype=torch.uint8)
        walk(columns, wanted, moves, scales, 15, left, codes)
        found.append((codes, wanted, left))
    same = (found[0][0] == found[1][0]).all(dim=0)
    assert float(same.float().mean()) >= 0.98, "more than ties went the other way"
    for one, other in zip(*(pair[1:] for pair in found), strict=True):
        torch.testing.assert_close(one[:, same], other[:, same], rtol=1e-4, atol=1e-4)


def test_codes_are_the_same_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbench.quant.kernels.base import native

    w, inputs = weight(48, 256), inputs_of(text(256))
    fast, _ = run(w, inputs)
    monkeypatch.setattr(native, "why_not", lambda: "no compiler")
    monkeypatch.setattr(native, "round_columns", None)
    plain, _ = run(w, inputs)
    assert float((fast.codes == plain.codes).float().mean()) > 0.999


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(MethodError, match=r"a\.layer: gptq needs the layer's inputs"):
        run(weight(8, 64), None)
    with pytest.raises(MethodError, match="group_size 48 does not divide its 64"):
        run(weight(8, 64), inputs_of(text(64)), group_size=48)
    broken = text(64)
    broken[3, 5] = torch.inf
    with pytest.raises(MethodError, match="hold inf or nan"):
        run(weight(8, 64), inputs_of(broken))
    for params, said in [
        ({"damp": -1.0}, "damp"),
        ({"block_size": 0}, "block_size"),
        ({"num_bits": 1}, "num_bits"),
        ({"strategy": "channel", "static_groups": False}, "static_groups"),
        ({"strategy": "channel", "group_size": 64}, "group_size"),
    ]:
        with pytest.raises(MethodError, match=said):
            registry.make("gptq", params)


def test_the_weight_given_is_not_changed() -> None:
    w, x = weight(8, 64), text(64)
    x[:, 5] = 0
    before = w.clone()
    run(w, inputs_of(x))
    assert torch.equal(w, before)
    assert dataclasses.is_dataclass(registry.make("gptq", {}))

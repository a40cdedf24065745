"""HQQ's iteration against the paper's equations in float64, and what keeping the best iterate promises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from qbench import Layer, MethodError
from qbench.quant.algorithms import hqq
from qbench.quant.method import registry

LAYER = Layer("block.proj", "Linear", 256, 48)


def weights(size: float, seed: int = 0, rows: int = 48, columns: int = 256) -> Tensor:
    """Student's t with 4 degrees of freedom, of that standard deviation; at 1 the shrinkage is at work."""
    drawn = np.random.default_rng(seed).standard_t(4, (rows, columns))
    return torch.from_numpy(drawn / drawn.std() * size).float()


def solved(weight: Tensor, solver: hqq.Solver, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    return hqq.quantize(weight.view(len(weight), -1, 64), solver, dtype)


def restored(codes: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return ((codes.double() - zero.double()[..., None]) * scale.double()[..., None]).flatten(1)


@dataclass(frozen=True)
class Step:
    """One iterate, as the equations give it in float64."""

    beta: float
    zero: np.ndarray
    """(R, 1)."""
    loss: np.ndarray
    """Σ|W − Ŵ| (R)."""
    safe: np.ndarray
    """Which groups have no weight so near to a tie that float32 may round it the other way."""


def reference(rows: np.ndarray, solver: hqq.Solver) -> list[Step]:
    """The first iterate and all that follow."""
    top = 2**solver.num_bits - 1
    low = rows.min(1, keepdims=True)
    scale = (rows.max(1, keepdims=True) - low) / top
    zero, beta, steps = -low / scale, solver.beta, []
    for _ in range(solver.iterations + 1):
        exact = rows / scale + zero
        codes = np.clip(np.rint(exact), 0, top)
        error = rows - (codes - zero) * scale
        safe = (np.abs(exact - np.floor(exact) - 0.5) > 1e-4).all(1)
        steps.append(Step(beta, zero, np.abs(error).sum(1), safe))
        with np.errstate(divide="ignore"):
            kept = np.abs(error) - np.abs(error) ** (solver.lp_norm - 1) / beta
        outlier = np.sign(error) * np.maximum(kept, 0)
        zero = (codes - (rows - outlier) / scale).mean(1, keepdims=True)
        beta *= solver.kappa
    return steps


@pytest.mark.parametrize("size", [0.02, 1.0, 5.0])
@pytest.mark.parametrize("num_bits", [2, 3, 4, 8])
def test_each_step_equals_the_equations_written_out(num_bits: int, size: float) -> None:
    solver = hqq.Solver(num_bits)
    groups = weights(size).view(-1, 64)
    steps = reference(groups.double().numpy(), solver)
    low, high = groups.aminmax(dim=1)
    part = hqq.Slice(groups, (high - low) / solver.top, solver)
    for beta, now, after in zip(solver.betas(), steps[:-1], steps[1:], strict=True):
        assert beta == pytest.approx(now.beta)
        zero = torch.from_numpy(now.zero).float()
        loss = part.loss(zero) * part.scale
        next_zero = part.update(zero, beta)
        assert now.safe.mean() > 0.75
        np.testing.assert_allclose(loss[:, 0].numpy()[now.safe], now.loss[now.safe], rtol=2e-4)
        np.testing.assert_allclose(next_zero.numpy()[now.safe], after.zero[now.safe], atol=3e-5)


@pytest.mark.parametrize("size", [0.02, 1.0, 5.0])
@pytest.mark.parametrize("num_bits", [2, 3, 4, 8])
def test_the_best_iterate_is_kept(num_bits: int, size: float) -> None:
    # A weight near a tie sends float32 another way, to a zero about as good: groups to 2 %, the sum closely.
    solver = hqq.Solver(num_bits)
    weight = weights(size)
    found = (weight.double() - restored(*solved(weight, solver))).abs().view(-1, 64).sum(1).numpy()
    losses = np.array([step.loss for step in reference(weight.double().numpy().reshape(-1, 64), solver)])
    np.testing.assert_allclose(found, losses.min(0), rtol=0.02)
    assert found.sum() == pytest.approx(losses.min(0).sum(), rel=1e-4)
    assert found.sum() < losses.sum(1).min()  # no one step is the best for every group


def test_the_shrinkage_is_at_work_on_large_weights_only() -> None:
    solver = hqq.Solver(3)
    for size, expected in ((0.02, False), (1.0, True)):
        groups = weights(size).view(-1, 64)
        scale = (groups.amax(1) - groups.amin(1)) / solver.top
        part = hqq.Slice(groups, scale, solver)
        zero = (-groups.amin(1) / scale)[:, None]
        part.loss(zero)
        beta = solver.betas()[0]
        assert bool(part.may_shrink(zero, beta).any()) is expected
        outliers = hqq.shrink(part.off * part.scale, beta, solver.lp_norm)
        assert bool((outliers != 0).any()) is expected


@pytest.mark.parametrize("lp_norm", [0.3, 0.7, 1.0])
def test_shrink_is_the_papers_operator(lp_norm: float) -> None:
    x = torch.tensor([-3.0, -0.5, -0.01, 0.0, 0.01, 0.5, 3.0])
    expected = [
        np.sign(v) * max(abs(v) - abs(v) ** (lp_norm - 1) / 10, 0) if v else 0.0 for v in x.double().tolist()
    ]
    np.testing.assert_allclose(hqq.shrink(x, 10.0, lp_norm).numpy(), expected, rtol=1e-5)
    edge = hqq.Solver(lp_norm=lp_norm).threshold(10.0)
    below, above = hqq.shrink(torch.tensor([edge * 0.999, edge * 1.001]), 10.0, lp_norm)
    assert below == 0
    assert above > 0


@pytest.mark.parametrize("num_bits", [2, 3, 4])
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_leaving_the_power_out_changes_nothing(
    num_bits: int, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = solved(weights(size), hqq.Solver(num_bits))
    monkeypatch.setattr(
        hqq.Slice, "may_shrink", lambda self, zero, beta: torch.ones_like(zero, dtype=torch.bool)
    )
    whole = solved(weights(size), hqq.Solver(num_bits))
    for one, other in zip(quick, whole, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_bits", range(2, 9))
@pytest.mark.parametrize("size", [0.02, 1.0])
def test_no_group_is_worse_than_by_rounding_to_nearest(
    num_bits: int, size: float, dtype: torch.dtype
) -> None:
    weight = weights(size, seed=num_bits).to(dtype)
    plain = registry.make(
        "zeropoint",
        {"num_bits": num_bits, "strategy": "group", "zero": "float", "zero_in_range": False},
    ).quantize_layer(weight, LAYER)
    ours = registry.make("hqq", {"num_bits": num_bits}).quantize_layer(weight, LAYER)
    assert ours.why_invalid(weight.shape) is None
    assert torch.equal(ours.scale, plain.scale)
    assert ours.zero is not None
    assert ours.zero.dtype == dtype

    def loss(made: Tensor) -> Tensor:
        return (weight.double() - made.double()).abs().view(48, -1, 64).sum(-1)

    assert bool((loss(ours.dequantize()) <= loss(plain.dequantize()) * (1 + 1e-5)).all())


@pytest.mark.parametrize("num_bits", [3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_tensor_is_better_than_by_rounding_to_nearest(num_bits: int, seed: int) -> None:
    # In every norm that is asked of it: the mean error, HQQ's own lp one, and the squared one.
    weight = weights(0.02, seed)
    params = {"num_bits": num_bits, "strategy": "group", "zero": "float", "zero_in_range": False}
    plain = registry.make("zeropoint", params).quantize_layer(weight, LAYER).dequantize()
    ours = registry.make("hqq", {"num_bits": num_bits}).quantize_layer(weight, LAYER).dequantize()
    for norm in (0.7, 1, 2):
        assert (weight - ours).abs().pow(norm).mean() < 0.99 * (weight - plain).abs().pow(norm).mean()


@pytest.mark.parametrize("size", [0.02, 1.0])
def test_slices_change_nothing(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solved(weights(size), hqq.Solver(3))
    monkeypatch.setattr(hqq, "SLICE", 700)
    for one, other in zip(whole, solved(weights(size), hqq.Solver(3)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


def test_groups_along_the_outputs_are_a_transposed_view() -> None:
    weight = weights(0.02, rows=128, columns=24).to(torch.bfloat16)
    view = weight.view(2, 64, 24).transpose(1, 2)
    for one, other in zip(
        hqq.quantize(view, hqq.Solver(4), torch.bfloat16),
        hqq.quantize(view.float().contiguous(), hqq.Solver(4), torch.bfloat16),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("strategy", ["channel", "group"])
def test_zero_constant_and_far_groups(dtype: torch.dtype, strategy: str) -> None:
    weight = weights(0.02)
    weight[0], weight[1], weight[2] = 0, 0.125, weight[2].abs() / 100 + 5
    method = registry.make("hqq", {"strategy": strategy})
    for given in (weight.to(dtype), weight[1:2].to(dtype)):
        made = method.quantize_layer(given, LAYER)
        assert made.why_invalid(given.shape) is None
        found = made.dequantize()
        row = 1 if len(given) > 1 else 0
        assert torch.equal(found[row], torch.full((256,), 0.125))
        assert bool(((found - given).abs() <= 0.02 + 2**-6 * given.abs()).all())
    assert bool((method.quantize_layer(weight.to(dtype), LAYER).dequantize()[0] == 0).all())


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"num_bits": 1}, "2 … 8"),
        ({"lp_norm": 0.0}, "lp_norm"),
        ({"lp_norm": 1.5}, "lp_norm"),
        ({"beta": 0.0}, "beta"),
        ({"kappa": 0.5}, "kappa"),
        ({"iterations": 0}, "zeropoint"),
        ({"axis": 0, "strategy": "channel"}, "axis"),
        ({"axis": 2}, "axis"),
        ({"strategy": "tensor"}, "strategy"),
        ({"strategy": "channel", "group_size": 64}, "no meaning"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, object], said: str) -> None:
    with pytest.raises(MethodError, match=said):
        registry.make("hqq", params)


@pytest.mark.parametrize("num_bits", [4, 3])
def test_axis_0_is_axis_1_of_the_transposed_weight(num_bits: int) -> None:
    weight = weights(1.0, rows=128, columns=48)
    down = registry.make("hqq", {"num_bits": num_bits, "axis": 0}).quantize_layer(
        weight, Layer("a", "Linear", 48, 128)
    )
    along = registry.make("hqq", {"num_bits": num_bits}).quantize_layer(
        weight.t().contiguous(), Layer("a", "Linear", 128, 48)
    )
    assert down.why_invalid(weight.shape) is None
    assert down.scale.shape == (2, 48)
    assert torch.equal(down.codes, along.codes.t())
    assert torch.equal(down.dequantize(), along.dequantize().t())
    with pytest.raises(MethodError, match="does not divide"):
        registry.make("hqq", {"axis": 0}).quantize_layer(weights(1.0, rows=50), LAYER)

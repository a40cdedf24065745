"""Every kernel that runs on a GPU, on a GPU, against float64 on the CPU; what ran; the codes it gives back.

Nothing here runs without a CUDA device. Kernels are asked for by name, so that none can stand in for another,
and then by `auto`, to see that the plan is what runs. Also what only a GPU can show of Triton: its own
compilation for a launch, several shapes and unaligned sizes in turn, and launches beyond one grid axis.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from qbench.quant.formats.affine import AffineWeight
from qbench.quant.kernels import Kernel, kernel, plan
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.kernels.test_kernels import DTYPES, EPS, PLAIN, cases, rounded
from tests.quant.layers import activations, affine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda:0")
ENTRIES = [entry for entry in PLAIN if "cuda" in entry.devices]
ROWS = (1, 2, 5, 16, 17, 33, 64, 65, 129, 300)
SHAPES = ((64, 96), (8, 32), (72, 160), (136, 576), (1024, 2048), (264, 4096))
"""Multiples of 8 and 32, which every kernel takes."""
RAGGED = ((1, 8), (3, 7), (5, 36), (33, 65), (17, 100), (37, 200))
ROUNDED = ("dequant_gemm", "triton_gemm", "triton_dequant_gemm", "int4_tinygemm")
"""Kernels that round each weight to the activations' dtype, or may."""


def there(weight: AffineWeight, name: str, dtype: torch.dtype, bias: Tensor | None = None) -> QuantizedLinear:
    """The layer on the GPU, made for one kernel by name."""
    tensors = {name: value.to(CUDA) for name, value in vars(weight).items() if isinstance(value, Tensor)}
    on = dataclasses.replace(weight, **tensors)
    return QuantizedLinear.from_weight(on, bias, dtype=dtype, name="it", kernel=name)


def needs(entry: Kernel) -> None:
    if entry.missing("cuda"):
        pytest.skip(str(entry.missing("cuda")))


def scale_dtype(entry: Kernel, dtype: torch.dtype) -> torch.dtype:
    return dtype if entry.scale_dtypes is None else DTYPES[entry.scale_dtypes[0]]


def check(layer: QuantizedLinear, weight: AffineWeight, x: Tensor, bias: Tensor | None = None) -> None:
    """Asserts y against float64, and that the kernel asked for is the one that ran."""
    name, dynamic = layer.spec.kernel, weight.activations != "none"
    exact_x, w = rounded(x, weight), weight.dequantize().double()
    product = exact_x @ w.t()
    expected = product + (0 if bias is None else bias.double())
    size = exact_x.abs() @ w.abs().t()
    allowed = (
        1.05 * EPS[x.dtype] * (product.abs() + expected.abs()) + 2.0**-22 * x.shape[1] ** 0.5 * size + 1e-6
    )
    if name in ROUNDED:
        allowed = allowed + EPS[x.dtype] * size
    if name == "int4_tinygemm":  # its offset, and the product before the bias, are rounded too
        zeros = torch.full((1, 1), 8.0) if weight.zero is None else weight.zero
        offsets = ((8 - zeros.double()).abs() * weight.scale.double()).expand(w.shape[0], -1)
        spread = offsets.repeat_interleave(w.shape[1] // offsets.shape[1], 1)
        allowed = allowed + EPS[x.dtype] * (exact_x.abs() @ spread.t())
    if dynamic and "dequant" in name:  # emulated: the activations are rounded as well
        allowed = allowed + EPS[x.dtype] * size
    if dynamic:
        allowed = allowed + 2 * (exact_x.abs().amax(1, keepdim=True) / 127) * w.abs().amax(1)
    layer.reset_counts()
    got = layer(x.to(CUDA)).cpu()
    assert (got.dtype, got.shape) == (x.dtype, expected.shape)
    assert [ran["kernel"] for ran in layer.report()["executed"]] == [name]
    worst = ((got.double() - expected).abs() / allowed).max()
    assert worst <= 1, f"{name}: {float(worst):.2f} times what is allowed"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_claimed_combination(entry: Kernel) -> None:
    needs(entry)
    for number, case in enumerate(cases(entry)):
        dtype = DTYPES[case.pop("dtype")]
        weight = affine(64, 96, **case, seed=number, scale_dtype=scale_dtype(entry, dtype))
        layer = there(weight, entry.name, dtype)
        for rows in (1, 17):
            check(layer, weight, activations(rows, 96, dtype, seed=number))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_number_of_rows(entry: Kernel, rows: int) -> None:
    needs(entry)
    for dtype in (DTYPES[name] for name in entry.dtypes):
        for shape in SHAPES[-3:]:
            weight = affine(
                *shape,
                num_bits=entry.num_bits[0],
                activations=entry.activations[-1],
                scale_dtype=scale_dtype(entry, dtype),
            )
            bias = torch.linspace(-3, 3, shape[0]).to(dtype)
            check(
                there(weight, entry.name, dtype, bias.to(CUDA)),
                weight,
                activations(rows, shape[1], dtype, seed=rows),
                bias,
            )


@pytest.mark.parametrize("shape", SHAPES + RAGGED)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_shapes(entry: Kernel, shape: tuple[int, int]) -> None:
    needs(entry)
    n, k = shape
    if n % entry.out_multiple or k % entry.in_multiple or k < entry.min_in_features:
        pytest.skip("outside the kernel's conditions")
    dtype = DTYPES[entry.dtypes[0]]
    for bits in entry.num_bits:
        weight = affine(
            n, k, num_bits=bits, activations=entry.activations[-1], scale_dtype=scale_dtype(entry, dtype)
        )
        layer = there(weight, entry.name, dtype)
        for rows in (1, 4, 19):
            check(layer, weight, activations(rows, k, dtype, seed=rows))


@pytest.mark.parametrize("group", [2, 6, 16, 24, 32, 48, 64, 96, 128, 192, 256])
@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if "group" in e.strategies], ids=lambda entry: entry.name
)
def test_groups(entry: Kernel, group: int) -> None:
    needs(entry)
    if entry.group_sizes is not None and group not in entry.group_sizes:
        pytest.skip("outside the kernel's conditions")
    dtype = DTYPES[entry.dtypes[0]]
    for zero in entry.zeros:
        case: dict[str, Any] = {"num_bits": 4, "strategy": "group", "zero": zero, "group_size": group}
        weight = affine(40, 768, **case, scale_dtype=scale_dtype(entry, dtype))
        for rows in (1, 9, 40):
            check(there(weight, entry.name, dtype), weight, activations(rows, 768, dtype))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_codes_and_state_survive_a_call(entry: Kernel) -> None:
    """Bit for bit, whatever layout the kernel holds them in: state, copy, a move home and a reload."""
    needs(entry)
    dtype = DTYPES[entry.dtypes[0]]
    for zero in entry.zeros:
        for k in (96, 320, 2048):
            weight = affine(
                64,
                k,
                num_bits=entry.num_bits[0],
                zero=zero,
                activations=entry.activations[-1],
                scale_dtype=scale_dtype(entry, dtype),
            )
            layer = there(weight, entry.name, dtype)
            before = {key: value.cpu().clone() for key, value in layer.state_dict().items()}
            x = activations(3, k, dtype).to(CUDA)
            first = layer(x)
            assert (layer.codes is None) == (entry.restore is not None)
            for state in (layer.state_dict(), copy.deepcopy(layer).state_dict()):
                assert all(torch.equal(state[key].cpu(), before[key]) for key in before)
            other = QuantizedLinear.from_config(layer.config(), device="meta")
            other.load_state_dict({key: value.to(CUDA) for key, value in before.items()}, assign=True)
            assert torch.equal(other(x), first)
            assert torch.equal(layer.cpu().stored_codes(), before["codes"])
            assert torch.equal(layer.to_affine().codes, weight.codes)


@pytest.mark.parametrize("num_bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("strategy", ["channel", "group"])
def test_auto_runs_what_it_plans(num_bits: int, strategy: Any) -> None:
    weight = affine(64, 256, num_bits=num_bits, strategy=strategy, zero="integer", scale_dtype=torch.bfloat16)
    layer = there(weight, "auto", torch.bfloat16)
    w = weight.dequantize().double()
    for first, last, entry, _ in plan(layer.spec, "bf16", CUDA, "it"):
        for rows in {first, min(last or 400, 400)}:
            layer.reset_counts()
            x = activations(rows, 256, torch.bfloat16)
            got, expected = layer(x.to(CUDA)).cpu().double(), x.double() @ w.t()
            assert [ran["kernel"] for ran in layer.report()["executed"]] == [entry.name]
            assert (got - expected).norm() <= 0.01 * expected.norm()
    if kernel("triton_gemv").missing("cuda") is None:
        assert layer.planned()[0] == {"rows": "1..1", "kernel": "triton_gemv"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_broken_activation_shows_in_its_row_alone(entry: Kernel, bad: float) -> None:
    needs(entry)
    weight = affine(
        16,
        64,
        num_bits=entry.num_bits[-1],
        activations=entry.activations[-1],
        scale_dtype=scale_dtype(entry, DTYPES[entry.dtypes[0]]),
    )
    x = activations(3, 64, DTYPES[entry.dtypes[0]])
    x[1, 5] = bad
    out = there(weight, entry.name, x.dtype)(x.to(CUDA)).cpu()
    assert not out[1].isfinite().any()
    assert out[[0, 2]].isfinite().all()


def test_more_outputs_than_a_second_grid_axis_has_programs() -> None:
    """A vocabulary of 262,144 and more: 4 rows a program on that axis would be one too many."""
    needs(kernel("triton_gemv"))
    n, k = 4 * 65_536 + 5, 64
    weight = affine(n, k, num_bits=4, strategy="group", scale_dtype=torch.bfloat16)
    for name in ("triton_gemv", "triton_gemm", "triton_dequant_gemm"):
        check(there(weight, name, torch.bfloat16), weight, activations(2, k, torch.bfloat16))

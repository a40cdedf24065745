"""Kernels by themselves: a layer of each format and kernel beside F.linear in the model's dtype.

For each shape and number of rows all runners are timed in one interleaved run on rotated weights (see
`interleaved.py`). Weights are drawn from a seed and quantized once; the copies that rotate hold the same
codes at other addresses. Times are of the call alone: packing and preparing are done before.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear

from qbench.errors import DeviceError, KernelError, MethodError, ModelError, SuiteError, did_you_mean
from qbench.json_object import JsonObject
from qbench.measure import roofline
from qbench.measure.interleaved import Runner, copies_for, last_cache_bytes, samples
from qbench.measure.peak_rates import peak_rates
from qbench.models.source import locate
from qbench.quant.formats.weight import PackedWeight
from qbench.quant.kernels import DTYPES, LinearSpec, choose, kernel, kernels
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method import registry
from qbench.quant.method.base import Layer
from qbench.quant.model.skeleton import skeleton
from qbench.quant.selection.targets import candidates, tied

FLOAT = "F.linear"
SCALE = 0.02
"""Standard deviation of the weights drawn."""


@dataclass(frozen=True)
class Order:
    """Layers, methods and rows to time."""

    shapes: Sequence[tuple[int, int]]
    """(N, K): outputs, inputs."""
    rows: Sequence[int]
    methods: Mapping[str, tuple[str, JsonObject]]
    """Label → method and its parameters."""
    kernels: Sequence[str] = ("auto",)
    """Names, `auto`, or `all` for every kernel that can run the layer here."""
    dtype: str = "bf16"
    device: str = "cpu"
    turns: int = 31
    seed: int = 0


def model_shapes(source: str) -> list[tuple[int, int]]:
    """The distinct (N, K) of the layers that quantization takes, largest first; no weight is loaded."""
    from transformers import AutoConfig

    found = locate(source, None)
    try:
        config = AutoConfig.from_pretrained(found.folder, gguf_file=found.gguf, local_files_only=True)
        model = skeleton(config, torch.float32, None)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the shapes of {source!r} cannot be read: {error}") from error
    layers = candidates(model)
    ties = tied(model, layers)
    shapes = {
        (shape.out_features, shape.in_features) for name, (shape, _) in layers.items() if name not in ties
    }
    return sorted(shapes, key=lambda shape: (-shape[0] * shape[1], shape))


def ready(order: Order, threads: int | None) -> None:
    """Sets the threads; raises SuiteError, KernelError or DeviceError for an order that cannot be run."""
    if not order.shapes:
        raise SuiteError("nothing to time; name a layer as --shape 4096x4096, or a model with --model")
    if order.dtype not in DTYPES:
        raise SuiteError(f"--dtype {order.dtype!r}: {did_you_mean(order.dtype, DTYPES)}")
    for name in order.kernels:
        if name not in ("auto", "all"):
            kernel(name)
    if order.device != "cpu" and not order.device.startswith("cuda"):
        raise DeviceError(f"--device {order.device!r} is neither cpu nor cuda:N")
    if order.device != "cpu" and not torch.cuda.is_available():
        raise DeviceError(f"--device {order.device!r}: torch sees no CUDA device here")
    if threads and order.device != "cpu":
        raise KernelError(f"--threads {threads} is for the CPU; drop it for {order.device}")
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


@torch.inference_mode()
def bench(order: Order, tell: Callable[[str], None] = lambda line: None) -> JsonObject:
    """Every sample of every case as JSON values; `tell` hears of each shape. MethodError, KernelError."""
    device = torch.device(order.device)
    cases, skipped = list[JsonObject](), list[JsonObject]()
    for n, k in order.shapes:
        tell(f"{n}×{k}")
        runners = _runners(order, n, k, device, skipped)
        for rows in order.rows:
            x = _random((rows, k), order.seed + 1, device).to(DTYPES[order.dtype])
            calls = {name: runner.bound(x) for name, runner in runners.items()}
            times = samples(calls, order.turns, order.seed, device)
            cases += [runner.case(rows, times[name], order) for name, runner in runners.items()]
    return {
        "unit": "s",
        "device": order.device,
        "dtype": order.dtype,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "turns": order.turns,
        "seed": order.seed,
        "last_cache_bytes": last_cache_bytes(device),
        "ceilings": peak_rates(order.device).to_dict(),
        "cases": cases,
        "skipped": skipped,
    }


@dataclass
class _Rotated:
    """One format on one kernel, in copies."""

    method: str
    kernel: str
    dtype: str
    n: int
    k: int
    weight_bytes: float
    calls: Sequence[Callable[[Tensor], Tensor]]
    spec: LinearSpec | None = None
    """None for F.linear."""

    def bound(self, x: Tensor) -> Runner:
        calls = self.calls
        return lambda turn: calls[turn % len(calls)](x)

    def case(self, rows: int, seconds: list[float], order: Order) -> JsonObject:
        ran = self.kernel
        if self.spec is not None:
            ran = choose(self.spec, rows, order.dtype, torch.device(order.device), self.method)[0].name
        return {
            "shape": [self.n, self.k],
            "rows": rows,
            "method": self.method,
            "kernel": self.kernel,
            "ran": ran,
            "arithmetic": self.dtype,
            "weight_bytes": self.weight_bytes,
            "rotated_bytes": self.weight_bytes * len(self.calls),
            "samples": seconds,
        }


def _runners(
    order: Order, n: int, k: int, device: torch.device, skipped: list[JsonObject]
) -> dict[str, _Rotated]:
    """F.linear, and every method on every kernel asked for; what cannot run goes to `skipped`."""
    drawn = _random((n, k), order.seed, device) * SCALE
    weight = drawn.to(DTYPES[order.dtype])
    floats = [weight.clone() for _ in range(copies_for(weight.nbytes, device))]
    calls = [partial(linear, weight=one) for one in floats]
    found = {FLOAT: _Rotated(FLOAT, order.dtype, order.dtype, n, k, weight.nbytes, calls)}
    for label, (name, params) in order.methods.items():
        packed = _packed(name, params, drawn)
        for asked in _kernels(order, packed, device):
            try:
                found[f"{label} · {asked}"] = _quantized(order, label, asked, packed, device)
            except KernelError as error:
                skipped.append({"shape": [n, k], "method": label, "kernel": asked, "reason": str(error)})
    return found


def _packed(name: str, params: JsonObject, weight: Tensor) -> PackedWeight:
    method = registry.make(name, params)
    if not method.quantizes or method.needs_calibration:
        what = "reads a calibration text" if method.needs_calibration else "quantizes nothing"
        raise MethodError(f"method {name!r} {what}, and these weights are drawn at random; name another one")
    return method.quantize_layer(weight.float(), Layer("layer", "Linear", weight.shape[1], weight.shape[0]))


def _kernels(order: Order, packed: PackedWeight, device: torch.device) -> list[str]:
    if "all" not in order.kernels:
        return list(order.kernels)
    spec = QuantizedLinear.from_weight(packed, dtype=DTYPES[order.dtype]).spec
    fitting = [entry.name for entry in kernels() if entry.why_not(spec, order.dtype, device) is None]
    return ["auto", *fitting]


def _quantized(order: Order, label: str, asked: str, packed: PackedWeight, device: torch.device) -> _Rotated:
    first = QuantizedLinear.from_weight(packed, dtype=DTYPES[order.dtype], kernel=asked)
    spec = first.spec
    stored = first.bits_per_weight * spec.in_features * spec.out_features / 8
    layers = [first, *(copy.deepcopy(first) for _ in range(copies_for(stored, device) - 1))]
    for layer in layers:
        layer.prepare()
    arithmetic = roofline.products(spec, order.dtype, device.type)
    return _Rotated(label, asked, arithmetic, spec.out_features, spec.in_features, stored, layers, spec)


def _random(shape: tuple[int, int], seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device)

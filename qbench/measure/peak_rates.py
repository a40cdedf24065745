"""Peak rates of this machine: bandwidth of reading and copying, the rate of a large matrix product.

Floors of decode (bytes read per step ÷ bandwidth) and of prefill (operations ÷ rate). A decode step reads its
weights and writes next to nothing, so reading is its peak rate: the sum of a buffer of 64-bit integers, which
computes less than memory delivers. A copy counts bytes read plus bytes written; where the processor first
reads the line that it is going to write, that traffic is not counted, and the figure stays below what memory
carries (seen: 24 GB/s copied where 55 are read). A rate is 2·n³ over the median time; n grows until one
product takes `LONG_ENOUGH_S` or reaches its cap, so that an unaccelerated dtype costs milliseconds too.
About one second a device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from qbench.json_object import JsonObject
from qbench.measure.clock import Marks, synchronize

COPY_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}
"""Size of a buffer: several times the largest last-level cache of its kind."""
MAX_N = {"cpu": 2048, "cuda": 8192}
LONG_ENOUGH_S = 0.02
BUDGET_S = 0.1
"""Time for repetitions of one figure."""
MIN_REPETITIONS = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}


@dataclass(frozen=True)
class PeakRates:
    """Rates of one device."""

    read_bytes_per_s: float
    copy_bytes_per_s: float
    gemm_flop_per_s: dict[str, float | None]
    """By dtype; None for one that the device does not multiply, with its entry in `reasons`."""
    threads: int | None
    reasons: dict[str, str]

    def to_dict(self) -> JsonObject:
        return asdict(self)


def peak_rates(device: str) -> PeakRates:
    """Measures one device."""
    where = torch.device(device)
    reasons: dict[str, str] = {}
    rates: dict[str, float | None] = {}
    for name, dtype in DTYPES.items():
        try:
            rates[name] = gemm_flop_per_s(where, dtype)
        except RuntimeError as error:  # torch's word for a dtype that this device does not multiply
            rates[name] = None
            reasons[name] = str(error).splitlines()[0]
    threads = torch.get_num_threads() if where.type == "cpu" else None
    return PeakRates(read_bytes_per_s(where), copy_bytes_per_s(where), rates, threads, reasons)


def read_bytes_per_s(device: torch.device) -> float:
    """Bytes per second of adding up a buffer that no cache holds."""
    source = torch.ones(_copy_size(device) // 8, dtype=torch.int64, device=device)
    return source.nbytes / median_s(source.sum, device)


def copy_bytes_per_s(device: torch.device) -> float:
    """Bytes read plus bytes written, per second, of a copy between two buffers that no cache holds."""
    size = _copy_size(device)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * size / median_s(lambda: target.copy_(source), device)


def gemm_flop_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of an n × n × n product in `dtype`; RuntimeError where the device has none."""
    n = 256
    while True:
        work = _product(n, device, dtype)
        work()
        once_s = _once_s(work, device)
        if once_s >= LONG_ENOUGH_S or n >= MAX_N[device.type]:
            return 2 * n**3 / median_s(work, device)
        n *= 2


def median_s(work: Callable[[], object], device: torch.device) -> float:
    """Median time of one run of `work`, after one that is not counted."""
    work()
    start_s, times = time.perf_counter(), list[float]()
    while len(times) < MIN_REPETITIONS or time.perf_counter() - start_s < BUDGET_S:
        times.append(_once_s(work, device))
    return statistics.median(times)


def _once_s(work: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    marks = Marks(device)
    marks.mark()
    work()
    marks.mark()
    return marks.seconds()[0]


def _product(n: int, device: torch.device, dtype: torch.dtype) -> Callable[[], Tensor]:
    if dtype == torch.int8:
        a = torch.randint(-127, 128, (n, n), dtype=dtype, device=device)
        b = torch.randint(-127, 128, (n, n), dtype=dtype, device=device).t()
        return lambda: torch._int_mm(a, b)
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    return lambda: torch.mm(a, b)


def _copy_size(device: torch.device) -> int:
    """`COPY_BYTES`, less where a GPU has no room for it."""
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        return min(COPY_BYTES["cuda"], free_bytes // 4)
    return COPY_BYTES["cpu"]

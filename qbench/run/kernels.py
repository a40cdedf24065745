"""Checks of an order of `qbench bench-kernels` before anything is timed."""

from __future__ import annotations

import os

import torch

from qbench.errors import DeviceError, KernelError, SuiteError, did_you_mean
from qbench.measure.kernel_bench import Order
from qbench.quant.kernels import DTYPES, kernel


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

"""Kernels in C, compiled for this machine at first use and cached.

torch's own int8 pack kernel reads W at three quarters of the memory's rate; `native.c` reads it at nearly all
of it. It is compiled by `cc` with `-march=native` in about a second, under a name that hashes source,
compiler, flags and CPU, and shares torch's OpenMP threads. Where there is no compiler, `why_not` says so and
the table takes torch's kernels: a named choice, not a silent one.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from qbench.cache import cache_folder
from qbench.quant.kernels.spec import Operand

SOURCE = Path(__file__).with_name("native.c")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
"""Without -ffast-math: a library linked with it makes the whole process flush small numbers to zero."""
ROWS = 4
"""Of x at a time: more run out of registers, and torch's pack kernel catches up."""
COMPILE_TIMEOUT_S = 120


def prepare_native(layer: Operand) -> tuple[Tensor, ...]:
    """Channel scales float32 (N), and the bias as float32 (N) if any."""
    scale = layer.scale.to(torch.float32).view(-1).expand(layer.spec.out_features).contiguous()
    return (scale,) if layer.bias is None else (scale, layer.bias.to(torch.float32))


def run_native(layer: Operand, prepared: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """x bf16 or float32 (M, K) → (M, N); 8 bits, symmetric, strategies tensor and channel.

    Products and sums in float32, rounded once to the activation dtype. Reads W once for each ROWS rows.
    """
    if layer.codes is None:
        raise AssertionError("a kernel that needs the codes ran while another one holds them")
    scale, *bias = prepared
    n, k = layer.spec.out_features, layer.spec.in_features
    wide = x.to(torch.float32)
    out = torch.empty(x.shape[0], n, dtype=x.dtype)
    weight = (layer.codes.data_ptr(), scale.data_ptr(), bias[0].data_ptr() if bias else None)
    for first in range(0, x.shape[0], ROWS):
        rows = min(ROWS, x.shape[0] - first)
        target = out[first:].data_ptr()
        _library().qbench_int8_linear(
            wide[first:].data_ptr(), *weight, target, x.dtype == torch.bfloat16, rows, n, k
        )
    return out


def int8_to_bf16(codes: Tensor, out: Tensor) -> None:
    """Writes int8 codes as bf16, exactly; both contiguous, of one size, on the CPU."""
    _library().qbench_int8_to_bf16(codes.data_ptr(), out.data_ptr(), codes.numel())


@functools.cache
def why_not() -> str | None:
    """Why the compiled kernels are not to be had here; None where they are. Compiles them if need be."""
    try:
        _library()
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return None


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_built()))
    pointer, number = ctypes.c_void_p, ctypes.c_long
    library.qbench_int8_linear.argtypes = [*[pointer] * 5, ctypes.c_int, *[number] * 3]
    library.qbench_int8_to_bf16.argtypes = [pointer, pointer, number]
    for function in (library.qbench_int8_linear, library.qbench_int8_to_bf16):
        function.restype = None
    return library


def _built() -> Path:
    """The shared library for this source, compiler and CPU; compiled whole, then named."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise OSError("no C compiler (cc, gcc, clang) on the PATH; install one for faster int8 decoding")
    source = SOURCE.read_bytes()
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout
    name = hashlib.sha256(b"\0".join([source, version, _cpu(), " ".join(FLAGS).encode()])).hexdigest()[:16]
    path = cache_folder() / "native" / f"{name}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / "native.so"
            command = [compiler, *FLAGS, "-o", str(made), str(SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
            if done.returncode:
                raise OSError(f"{compiler} failed: {done.stderr.strip()[:300] or done.returncode}")
            made.replace(path)
    return path


def _cpu() -> bytes:
    """What `-march=native` depends on: a cache may be shared by unlike machines."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor().encode()
    lines = info.read_text().split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features"))).encode()

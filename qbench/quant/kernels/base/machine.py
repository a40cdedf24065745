"""Features of this machine, as words that conditions of kernels use; found once and kept."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shutil

import torch

from qbench.quant.kernels.base import native

FEATURES: dict[str, str] = {
    "onednn": "torch's oneDNN quantized operators (x86 builds of torch)",
    "exact_int8": "int8 products that do not saturate: VNNI or AMX, not masked by ONEDNN_MAX_CPU_ISA",
    "bf16_gemm": "bf16 dot products in hardware: AVX512-BF16 or AMX",
    "amx": "AMX tiles",
    "native": "kernels in C, which a compiler (cc, gcc or clang) builds at first use",
    "cuda": "a CUDA device",
    "triton": "Triton (it comes with torch for CUDA), and gcc, clang or $CC, which builds its launcher",
}
"""Every word, with what it means to a reader."""


@functools.cache
def features(device: str) -> frozenset[str]:
    """Words of FEATURES that hold for `cpu` or `cuda`."""
    if device == "cuda":
        if not torch.cuda.is_available():
            return frozenset()
        return frozenset({"cuda", "triton"} if has_triton() else {"cuda"})
    found = set()
    if _has_onednn():
        found.add("onednn")
        if exact_int8():
            found.add("exact_int8")
    if torch.cpu._is_amx_tile_supported():
        found |= {"amx", "bf16_gemm"}
    if torch.cpu._is_avx512_bf16_supported():
        found.add("bf16_gemm")
    if native.why_not() is None:
        found.add("native")
    return frozenset(found)


def _has_onednn() -> bool:
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return x86 and bool(built) and hasattr(torch.ops.onednn, "qlinear_pointwise")


def exact_int8() -> bool:
    """True where oneDNN's int8 GEMM adds up the largest products without saturating; tried, not guessed.

    Without VNNI or AMX it uses a 16-bit multiply-add that saturates at 2·127·127 and returns wrong sums
    without a word, through `_int_mm` as well. CPU flags do not tell everything: the environment variable
    ONEDNN_MAX_CPU_ISA takes VNNI away, and VNNI has an AVX2 form too.
    """
    k = 64
    weight = torch.full((16, k), 127, dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    scale, zero = torch.ones(16), torch.zeros(16, dtype=torch.int64)
    for rows in (1, 32):
        codes = torch.full((rows, k), 255, dtype=torch.uint8)
        out = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 128, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        products = torch._int_mm(torch.full((rows, k), 127, dtype=torch.int8), weight.t())
        if not (bool((out == 127 * 127 * k).all()) and bool((products == 127 * 127 * k).all())):
            return False
    return True


def has_triton() -> bool:
    """True where Triton is installed and can build its launcher; neither it nor a GPU is touched."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return compiler is not None and importlib.util.find_spec("triton") is not None


@functools.cache
def cuda_capability(index: int) -> tuple[int, int]:
    """Compute capability of a CUDA device, such as (9, 0)."""
    return torch.cuda.get_device_capability(index)

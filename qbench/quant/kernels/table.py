"""The kernels there are, and which of those that can run a layer is the fastest at a number of rows.

Both are data. `CHOICES` is read from the top: the first line whose kernel can run the layer, whose machine
words hold and whose rows suffice is taken; each format has a last line that runs all
of it. Where its thresholds come from stands beside each line; `tests/benchmarks/test_kernels.py` draws the
curves again and checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from qbench.errors import KernelError, did_you_mean
from qbench.quant.kernels import cpu, cuda, dequant, fp8, native, outliers, tinygemm, triton_gemm
from qbench.quant.kernels.kernel import Kernel
from qbench.quant.kernels.machine import features
from qbench.quant.kernels.spec import LinearSpec

WIDTHS = (2, 3, 4, 5, 6, 7, 8)

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        name="int8_pack",
        summary="weight-only int8 straight from the codes, for few rows",
        devices=("cpu",),
        activations=("none",),
        num_bits=(8,),
        strategies=("tensor", "channel"),
        zeros=("none",),
        dtypes=("bf16",),
        in_multiple=16,
        prepare=cpu.prepare_pack,
        run=cpu.run_pack,
    ),
    Kernel(
        name="int8_native",
        summary="weight-only int8 straight from the codes, in C, for the fewest rows",
        devices=("cpu",),
        activations=("none",),
        num_bits=(8,),
        strategies=("tensor", "channel"),
        zeros=("none",),
        dtypes=("bf16", "fp32"),
        needs=("native",),
        prepare=native.prepare_native,
        run=native.run_native,
    ),
    Kernel(
        name="packed_native",
        summary="weight-only, straight from the packed codes, in C; bf16 weights in registers, float32 sums",
        devices=("cpu",),
        activations=("none",),
        num_bits=WIDTHS,
        strategies=("tensor", "channel", "group"),
        zeros=("none", "integer", "float"),
        dtypes=("bf16",),
        needs=("native",),
        prepare=native.prepare_packed,
        run=native.run_packed,
    ),
    Kernel(
        name="int8_onednn",
        summary="int8 × int8 with rounded activations, exact int32 sums, prepacked weight",
        devices=("cpu",),
        activations=("dynamic", "static"),
        num_bits=WIDTHS,
        strategies=("tensor", "channel"),
        zeros=("none", "integer", "float"),
        dtypes=("bf16", "fp16", "fp32"),
        needs=("onednn", "exact_int8"),
        prepare=cpu.prepare_onednn,
        run=cpu.run_onednn,
        restore=cpu.restore_onednn,
    ),
    Kernel(
        name="int8_int_mm",
        summary="int8 × int8 with rounded activations, exact int32 sums, torch._int_mm",
        devices=("cpu",),
        activations=("dynamic", "static"),
        num_bits=(8,),
        strategies=("tensor", "channel"),
        zeros=("none", "integer", "float"),
        dtypes=("bf16", "fp16", "fp32"),
        needs=("exact_int8",),
        min_in_features=2,  # with one, torch 2.13 returns uninitialised memory
        prepare=cpu.prepare_int_mm,
        run=cpu.run_int_mm,
    ),
    Kernel(
        name="int8_int_mm_cuda",
        summary="int8 × int8 with rounded activations on tensor cores, torch._int_mm",
        devices=("cuda",),
        activations=("dynamic", "static"),
        num_bits=(8,),
        strategies=("tensor", "channel"),
        zeros=("none", "integer", "float"),
        dtypes=("bf16", "fp16", "fp32"),
        cuda_capability=(7, 5),
        in_multiple=8,
        out_multiple=8,
        prepare=cpu.prepare_int_mm,
        run=cuda.run_int_mm_cuda,
    ),
    Kernel(
        name="int8_pack_cuda",
        summary="weight-only int8 straight from the codes, float32 arithmetic; only by name",
        devices=("cuda",),
        activations=("none",),
        num_bits=(8,),
        strategies=("tensor", "channel"),
        zeros=("none",),
        dtypes=("bf16", "fp16", "fp32"),
        prepare=cuda.prepare_pack_cuda,
        run=cuda.run_pack_cuda,
    ),
    Kernel(
        name="channel_dequant_gemm",
        summary="codes made float by tiles, exactly; float GEMM; scale on its output",
        devices=("cpu", "cuda"),
        activations=("none", "dynamic", "static"),
        num_bits=WIDTHS,
        strategies=("tensor", "channel"),
        zeros=("none", "integer"),
        dtypes=("bf16", "fp32"),
        prepare=dequant.prepare_channel,
        run=dequant.run_channel,
    ),
    Kernel(
        name="dequant_gemm",
        summary="weight dequantized by tiles into the activation dtype; float GEMM; runs everything",
        devices=("cpu", "cuda"),
        activations=("none", "dynamic", "static"),
        num_bits=WIDTHS,
        strategies=("tensor", "channel", "group", "group_axis0"),
        zeros=("none", "integer", "float"),
        dtypes=("bf16", "fp16", "fp32"),
        prepare=dequant.prepare_any,
        run=dequant.run_any,
    ),
    *triton_gemm.KERNELS,
    *tinygemm.KERNELS,
    *fp8.KERNELS,
    *outliers.KERNELS,
)


@dataclass(frozen=True)
class Choice:
    kernel: str
    present: tuple[str, ...] = ()
    """Words of `machine.FEATURES` that must hold."""
    absent: tuple[str, ...] = ()
    """Words that must not."""
    max_rows: int | None = None


CHOICES: tuple[Choice, ...] = (
    Choice("int8_onednn"),  # ahead of bf16 at every row count that was measured, 1 to 2048
    Choice("int8_int_mm_cuda"),
    # The three below, unmeasured until a GPU ran them. One row leaves tensor cores idle whoever does it, and
    # the memory's rate decides. A tile of more than 64 rows unpacks the weight again for each 128 of them:
    # from two such tiles on one pass over the codes and torch's GEMM should cost less. int4_tinygemm is not
    # chosen: it holds the codes in its own order, and sharing a layer by rows would repack it at each change.
    Choice("triton_gemv", max_rows=1),
    Choice("triton_gemm", max_rows=128),
    Choice("triton_dequant_gemm"),
    Choice("int8_int_mm"),
    # Zen 5, one thread's time beside bf16 F.linear, 4096 × 4096: 0.25 at one row, 0.7 at 16, 0.95 at 128;
    # from there oneDNN's own blocking wins over ours, and tiles are expanded for it.
    Choice("packed_native", present=("bf16_gemm",), absent=("amx",), max_rows=128),
    # AMX multiplies eight times faster than the vectors that this kernel uses: only where memory decides.
    Choice("packed_native", present=("amx",), max_rows=8),
    # Without bf16 products in hardware its portable code still reads the fewest bytes (not measured).
    Choice("packed_native", absent=("bf16_gemm",), max_rows=native.ROWS),
    # For float32 activations: up to its own four rows it takes what reading the weights takes.
    Choice("int8_native", max_rows=native.ROWS),
    Choice("int8_pack", present=("amx",), max_rows=8),  # 0.42 ms + 0.17 a row meets 0.6 ms + the bf16 GEMM
    Choice("int8_pack", present=("bf16_gemm",), absent=("amx",), max_rows=12),  # Zen 5: they cross there
    Choice(
        "int8_pack", absent=("bf16_gemm",)
    ),  # half the time of a bf16 GEMM in software, at every row count
    Choice("channel_dequant_gemm"),
    Choice("dequant_gemm"),
    Choice("fp8_scaled_mm"),
    Choice("fp8_native", present=("bf16_gemm",), absent=("amx",), max_rows=128),  # as packed_native
    Choice("fp8_native", present=("amx",), max_rows=8),
    Choice("fp8_native", absent=("bf16_gemm",), max_rows=native.ROWS),
    Choice("fp8_dequant_gemm"),
    *(Choice(entry.name) for entry in outliers.KERNELS),
)


def kernel(name: str) -> Kernel:
    """The kernel of this name; KernelError with the choices for an unknown one."""
    for entry in KERNELS:
        if entry.name == name:
            return entry
    known = [entry.name for entry in KERNELS] + ["auto"]
    raise KernelError(f"no kernel {name!r}; {did_you_mean(name, known)}")


def fastest(spec: LinearSpec, rows: int, dtype: str, device: torch.device) -> Kernel:
    """The first line of CHOICES that holds. KernelError where none does (a device that is neither known)."""
    words = features("cuda" if device.type == "cuda" else "cpu")
    for choice in CHOICES:
        fits = set(choice.present) <= words and not set(choice.absent) & words
        if fits and rows <= (choice.max_rows or rows):
            entry = kernel(choice.kernel)
            if entry.why_not(spec, dtype, device, rows) is None:
                return entry
    raise KernelError(f"no kernel runs {spec} in {dtype} on {device}; use a cpu or cuda device")


def choose(
    spec: LinearSpec, rows: int, dtype: str, device: torch.device, layer: str
) -> tuple[Kernel, str | None]:
    """The kernel that runs these rows, and why it is not the one asked for (None where it is, or `auto`).

    Raises KernelError naming layer, condition and way out where the one asked for cannot run and the spec
    allows no fallback.
    """
    if spec.kernel == "auto":
        return fastest(spec, rows, dtype, device), None
    asked = kernel(spec.kernel)
    against = asked.why_not(spec, dtype, device, rows)
    if against is None:
        return asked, None
    if not spec.allow_fallback:
        raise KernelError(
            f"layer {layer or 'without a name'}: kernel {asked.name} cannot run it: {against}. "
            "Ask for kernel auto, set allow_fallback, or exclude the layer"
        )
    return fastest(spec, rows, dtype, device), f"{asked.name}: {against}"


def plan(
    spec: LinearSpec, dtype: str, device: torch.device, layer: str
) -> list[tuple[int, int | None, Kernel, str | None]]:
    """Covers all row counts from 1 on: (first, last or None, kernel, reason for a fallback or None)."""
    ends = {choice.max_rows for choice in CHOICES} | {entry.max_rows for entry in KERNELS}
    ends |= {entry.min_rows - 1 for entry in KERNELS}
    starts = sorted({1} | {end + 1 for end in ends if end})
    ranges: list[tuple[int, int | None, Kernel, str | None]] = []
    for index, start in enumerate(starts):
        entry, reason = choose(spec, start, dtype, device, layer)
        end = starts[index + 1] - 1 if index + 1 < len(starts) else None
        if ranges and ranges[-1][2] is entry and ranges[-1][3] == reason:
            start = ranges.pop()[0]
        ranges.append((start, end, entry, reason))
    return ranges


def listing() -> list[dict[str, Any]]:
    """Every kernel with its conditions, whether this machine can run it, and why not: JSON values."""
    listed = []
    for entry in KERNELS:
        reasons = [entry.missing(device) for device in entry.devices]
        available = None in reasons
        listed.append(
            {
                "name": entry.name,
                "summary": entry.summary,
                "devices": list(entry.devices),
                "codes": list(entry.codes),
                "outliers": entry.outliers,
                "activations": list(entry.activations),
                "num_bits": list(entry.num_bits),
                "strategies": list(entry.strategies),
                "zeros": list(entry.zeros),
                "dtypes": list(entry.dtypes),
                "needs": list(entry.needs),
                "group_sizes": None if entry.group_sizes is None else list(entry.group_sizes),
                "scale_dtypes": None if entry.scale_dtypes is None else list(entry.scale_dtypes),
                "min_in_features": entry.min_in_features,
                "in_multiple": entry.in_multiple,
                "out_multiple": entry.out_multiple,
                "min_rows": entry.min_rows,
                "max_rows": entry.max_rows,
                "available": available,
                "reason": None if available else reasons[0],
            }
        )
    return listed

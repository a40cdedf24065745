"""Kernels that were chosen for every kind of machine and format before each kernel declared its own choices.

`choices.json` was written by the single table that stood before them, not by the code that it checks.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from qbench.errors import KernelError
from qbench.quant.kernels import LinearSpec, plan

EXPECTED = json.loads(Path(__file__).with_name("choices.json").read_text())
X86 = {"onednn", "exact_int8", "bf16_gemm", "native"}
CPUS: dict[str, set[str]] = {
    "AVX-512 with VNNI and BF16": X86,
    "the same without a compiler": X86 - {"native"},
    "AMX": X86 | {"amx"},
    "AMX without a compiler": (X86 | {"amx"}) - {"native"},
    "AVX2 only": {"onednn", "native"},
    "VNNI without BF16": {"onednn", "exact_int8", "native"},
    "exact int8 without oneDNN": {"exact_int8"},
    "nothing": set(),
}
GPUS = {f"CUDA {a}.{b}": ((a, b), {"cuda", "triton"}) for a, b in ((7, 0), (7, 5), (8, 0), (8, 9), (9, 0))}
GPUS["CUDA 9.0 without Triton"] = ((9, 0), {"cuda"})
BASE = LinearSpec(
    in_features=512, out_features=64, num_bits=8, strategy="channel", group_size=None, zero="none",
    scale_dtype="bf16", zero_dtype=None, activations="none", bias=False, dtype="bf16",
)  # fmt: skip
FORMATS = {
    "int8": BASE,
    "int8, K no multiple of 16": dataclasses.replace(BASE, in_features=72),
    "int8, K = 1": dataclasses.replace(BASE, in_features=1, activations="dynamic"),
    "int8 asymmetric": dataclasses.replace(BASE, zero="integer"),
    "int8 float zero": dataclasses.replace(BASE, zero="float", zero_dtype="bf16"),
    "int8 × int8 dynamic": dataclasses.replace(BASE, activations="dynamic"),
    "int8 × int8 static, a scale for all": dataclasses.replace(BASE, strategy="tensor", activations="static"),
    "int8 × int8 in groups": dataclasses.replace(
        BASE, strategy="group", group_size=32, activations="dynamic"
    ),
    "int8 with outliers": dataclasses.replace(BASE, activations="dynamic", threshold=6.0),
    "int4": dataclasses.replace(BASE, num_bits=4),
    "int4 × int8": dataclasses.replace(BASE, num_bits=4, activations="dynamic"),
    "int4 in groups": dataclasses.replace(BASE, num_bits=4, strategy="group", group_size=32),
    "int3 in groups, asymmetric": dataclasses.replace(
        BASE, num_bits=3, strategy="group", group_size=64, zero="integer"
    ),
    "int4 down the columns": dataclasses.replace(BASE, num_bits=4, strategy="group_axis0", group_size=32),
    "fp8": dataclasses.replace(BASE, code="e4m3", activations="dynamic"),
    "fp8 weight-only": dataclasses.replace(BASE, code="e4m3"),
    "fp8 E5M2": dataclasses.replace(BASE, code="e5m2", activations="dynamic"),
    "fp8 in blocks": dataclasses.replace(BASE, code="e4m3", strategy="block", group_size=128),
}
MACHINES = [(name, torch.device("cpu"), words, (0, 0)) for name, words in CPUS.items()] + [
    (name, torch.device("cuda", 0), words, capability) for name, (capability, words) in GPUS.items()
]


def chosen(device: torch.device) -> Iterator[tuple[str, str]]:
    """Format and dtype → rows and kernels, as `1..4 int8_native, 5.. dequant_gemm`."""
    for name, spec in FORMATS.items():
        for dtype in ("bf16", "fp16", "fp32"):
            try:
                ranges = plan(spec, dtype, device, "it")
            except KernelError:
                yield f"{name}, {dtype}", "none"
                continue
            said = (f"{first}..{last or ''} {entry.name}" for first, last, entry, _ in ranges)
            yield f"{name}, {dtype}", ", ".join(said)


@pytest.mark.parametrize(
    ("name", "device", "words", "capability"), MACHINES, ids=[one[0] for one in MACHINES]
)
def test_the_same_kernels_are_chosen_as_before(
    name: str,
    device: torch.device,
    words: set[str],
    capability: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def features(kind: str) -> frozenset[str]:
        return frozenset(words) if kind == device.type else frozenset()

    for module in ("table", "base.kernel"):
        monkeypatch.setattr(f"qbench.quant.kernels.{module}.features", features)
    monkeypatch.setattr("qbench.quant.kernels.base.kernel.cuda_capability", lambda index: capability)
    assert dict(chosen(device)) == EXPECTED[name]

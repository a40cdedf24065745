"""The Triton kernels without a GPU: right in Triton's interpreter, and compiled to machine code for sm_90.

What neither shows is left to the tests marked `gpu`: whether the machine code computes what the interpreter
does, and how fast.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from qbench.quant.formats.packing import PLANES
from qbench.quant.kernels.cuda import triton_gemm
from qbench.quant.kernels.cuda.triton_gemm import GEMV, Tile, block_k, gemm_tile
from qbench.quant.layer.linear import QuantizedLinear
from tests.quant.kernels.interpreted import cases
from tests.quant.layers import affine

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: pip install 'qbench[interpret]'",
)
SHARED_BYTES = 227 * 1024
"""Of a program on sm_90."""
POINTERS = {"x": "T", "codes": "C", "scale": "T", "zero": "Z", "bias": "T", "y": "T", "out": "T"}


@cache
def interpreted() -> subprocess.CompletedProcess[str]:
    """All cases in one process, started once."""
    return subprocess.run(
        [sys.executable, "-m", "tests.quant.kernels.interpreted"],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=280,
    )


@needs_triton
@pytest.mark.parametrize("name", [case[0] for case in cases()])
def test_products_equal_float64_arithmetic(name: str) -> None:
    done = interpreted()
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    if isinstance(errors, str):
        pytest.skip(errors)
    assert errors[name] <= 1


def test_a_kernel_takes_the_planes_of_a_width_to_be_its_binary_digits() -> None:
    for bits, planes in PLANES.items():
        assert planes == tuple(width for width in (8, 4, 2, 1) if bits & width)


@pytest.mark.parametrize(
    ("group", "wanted", "found"),
    [
        (None, 512, 512),
        (64, 512, 512),
        (128, 64, 64),
        (192, 256, 64),
        (192, 64, 64),
        (96, 256, 256),
        (1024, 512, 512),
    ],
)
def test_a_tile_of_k_fits_the_group_where_it_can(group: int | None, wanted: int, found: int) -> None:
    assert block_k(group, wanted) == found


def test_every_number_of_rows_has_a_tile() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        tiles = [gemm_tile(rows, dtype) for rows in range(1, 300)]
        assert [tile.m for tile in tiles] == sorted(tile.m for tile in tiles)
        assert all(tile.max_rows is None or rows <= tile.max_rows for rows, tile in enumerate(tiles, start=1))


def compiled(name: str, tile: Tile, dtype: str, num_bits: int, group: int | None, k: int, zero: Any) -> Any:
    """The function for sm_90 as a layer of this kind would have it compiled on a GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from qbench.quant.kernels.shared import triton_functions

    strategy = "channel" if group is None else "group"
    weight = affine(8, k, num_bits=num_bits, strategy=strategy, zero=zero, group_size=group or 32)
    layer = QuantizedLinear.from_weight(weight, dtype=torch.bfloat16)
    function = getattr(triton_functions, name)
    fixed = {**triton_gemm.constants(layer, tile), "BLOCK_M": tile.m, "BIAS": True}
    fixed = {key: value for key, value in fixed.items() if key in function.arg_names}
    types = {
        "T": f"*{dtype}",
        "C": "*i8" if num_bits == 8 else "*u8",
        "Z": "*u8" if zero == "integer" else "*fp32",
    }
    signature, attributes = {}, {}
    for place, argument in enumerate(function.arg_names):
        number = "constexpr" if argument in fixed else "i32"
        signature[argument] = types[POINTERS[argument]] if argument in POINTERS else number
        even = argument in POINTERS or (argument in ("N", "K", "columns", "codes_stride") and k % 128 == 0)
        if even:  # what Triton finds out about arguments when it launches
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=function, signature=signature, constexprs=fixed, attrs=attributes)
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


TILES = [
    *(("gemv", GEMV, dtype) for dtype in ("bf16", "fp32")),
    *(("gemm", tile, "bf16") for tile in triton_gemm.GEMM_TILES),
    *(("gemm", tile, "fp32") for tile in triton_gemm.FLOAT32_TILES),
    ("dequantize", triton_gemm.DEQUANT, "bf16"),
]


@needs_triton
@pytest.mark.parametrize(("num_bits", "group", "zero"), [(4, 64, "none"), (7, 128, "integer")])
@pytest.mark.parametrize(("name", "tile", "dtype"), TILES, ids=[f"{n}-{t.m}x{t.n}-{d}" for n, t, d in TILES])
def test_every_tile_compiles_for_hopper_without_a_spill(
    name: str,
    tile: Tile,
    dtype: str,
    num_bits: int,
    group: int | None,
    zero: str,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    """Also: no load of codes byte by byte, and large tiles of x meet Hopper's own instruction."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    made = compiled(name, tile, dtype, num_bits, group, 4096, zero)
    assert made.metadata.shared <= SHARED_BYTES
    assert spilled_bytes(made.asm["cubin"], tmp_path) == 0
    if zero != "integer":  # those zeros are bytes, read one by one
        assert not re.search(r"ld\.global\.b8\b", made.asm["ptx"])
    if name == "gemm" and dtype == "bf16":
        assert ("wgmma.mma_async" if tile.m >= 64 else "mma.sync") in made.asm["ptx"]


@needs_triton
@pytest.mark.parametrize("num_bits", [3, 8])
@pytest.mark.parametrize("name", ["gemv", "gemm", "dequantize"])
def test_the_other_widths_and_a_ragged_k_compile(
    name: str, num_bits: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tile = {"gemv": GEMV, "gemm": gemm_tile(40, torch.float16), "dequantize": triton_gemm.DEQUANT}[name]
    made = compiled(name, tile, "fp16", num_bits, 12, 516, "integer")
    assert len(made.asm["cubin"]) > 1000


def spilled_bytes(cubin: bytes, folder: Path) -> int:
    """Bytes of registers that a kernel had to put into memory."""
    import triton

    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    said = subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=True).stdout
    found = re.search(r"STACK:(\d+)", said)
    assert found is not None, said
    return int(found[1])

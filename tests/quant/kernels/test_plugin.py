"""A kernel from outside: one file and an entry point. Here too: two of one name, and one that is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLUGIN = Path(__file__).with_name("plugin")
RUNS = """
import json, torch
from qbench.quant import QuantizedLinear
from tests.quant.layers import activations, affine
weight = affine(48, 64, num_bits=8)
layer = QuantizedLinear.from_weight(weight, dtype=torch.float32, name="it")
exact = weight.dequantize().double()
errors = []
for rows in (1, 3, 6, 7):
    x = activations(rows, 64, torch.float32)
    expected = x.double() @ exact.t()
    errors.append(float((layer(x).double() - expected).abs().max() / expected.abs().max()))
report = layer.report()
print(json.dumps([errors, report["executed"], report["planned"]]))
"""


def python(*arguments: str, path: Path = PLUGIN, code: int = 0) -> str:
    """Standard output of a Python that finds the plugin; its standard error where it is to fail."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(path), str(ROOT))), "COLUMNS": "250"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def write_plugin(folder: Path, name: str, source: str) -> Path:
    """A distribution `name` with one module of that name, whose KERNEL is its entry point."""
    (folder / f"{name}-1.0.dist-info").mkdir(parents=True)
    (folder / f"{name}-1.0.dist-info/METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    (folder / f"{name}-1.0.dist-info/entry_points.txt").write_text(
        f"[qbench.kernels]\n{name} = {name}:KERNEL\n"
    )
    (folder / f"{name}.py").write_text(source)
    return folder


def test_it_stands_in_both_lists() -> None:
    listed = {row["name"]: row for row in json.loads(python("-m", "qbench", "list", "kernels", "--json"))}
    assert listed["shout"]["source"] == "shout"
    assert listed["shout"]["available"] is True
    assert listed["dequant_gemm"]["source"] == "built-in"
    choices = json.loads(python("-m", "qbench", "list", "kernels", "--choices", "--json"))
    assert choices[0] | {"format": ""} == {
        "rank": 5, "format": "", "devices": ["cpu"], "needs": [], "min_rows": 3, "max_rows": 6,
        "kernel": "shout", "why": "a test claims rows 3 to 6", "source": "shout",
    }  # fmt: skip
    assert [row["rank"] for row in choices] == sorted(row["rank"] for row in choices)
    printed = python("-m", "qbench", "list", "kernels", "--choices")
    assert "3–6" in printed
    assert "a test claims rows 3 to 6" in printed


def test_it_runs_the_rows_that_it_claims_and_no_others() -> None:
    errors, executed, planned = json.loads(python("-c", RUNS))
    assert max(errors) < 1e-5
    ran = {entry["kernel"]: (entry["min_rows"], entry["max_rows"], entry["calls"]) for entry in executed}
    assert ran["shout"] == (3, 6, 2)
    assert {name: seen[2] for name, seen in ran.items() if name != "shout"}
    assert {entry["rows"] for entry in planned if entry["kernel"] == "shout"} == {"3..6"}


def test_the_checks_of_every_claimed_combination_cover_it() -> None:
    found = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/quant/kernels/test_kernels.py",
        "-k", "shout and (claimed or odd_shapes or broken or number_of_rows)",
    )  # fmt: skip
    assert "20 passed" in found


def test_two_kernels_of_one_name_are_an_error_that_names_both_sources(tmp_path: Path) -> None:
    source = (PLUGIN / "shout.py").read_text().replace('name="shout"', 'name="int8_pack"')
    said = python("-m", "qbench", "list", "kernels", path=write_plugin(tmp_path, "twin", source), code=2)
    assert "two kernels are called 'int8_pack': from built-in and from twin" in said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("KERNEL = 3", "TypeError: hurt:KERNEL is a int, not a qbench.quant.Kernel"),
    ],
)
def test_a_broken_one_is_a_row_with_its_reason(source: str, said: str, tmp_path: Path) -> None:
    write_plugin(tmp_path, "hurt", source)
    listed = json.loads(python("-m", "qbench", "list", "kernels", "--json", path=tmp_path))
    assert listed[-1]["name"] == "hurt"
    assert listed[-1]["available"] is False
    assert listed[-1]["reason"] == said
    assert set(listed[-1]) == set(listed[0])
    assert "hurt" in python("-m", "qbench", "list", "kernels", path=tmp_path)
    asked = "from qbench.quant.kernels import kernel; kernel('hurt')"
    assert f"kernel 'hurt' of hurt cannot be loaded: {said}" in python("-c", asked, path=tmp_path, code=1)


def test_the_choices_are_of_kernels_alone() -> None:
    assert "--choices goes with kernels, not with models" in python(
        "-m", "qbench", "list", "models", "--choices", code=2
    )

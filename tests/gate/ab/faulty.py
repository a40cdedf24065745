"""A copy of this tree in which each kind of thing is wrong with one cell."""

from __future__ import annotations

import shutil
from pathlib import Path

from qbench.gate.ab import install

ROOT = Path(__file__).resolve().parents[3]
IMPORT = "        from qbench.run import faults\n"
NATIVE = "straight from the packed codes, in C; bf16 weights in registers, float32 sums"
FAULTS = {
    "methods/absmax.py": [
        ("        middle = 2 **", f"{IMPORT}        faults.quantizing(self)\n        middle = 2 **"),
        ("codes=codes.reshape(weight.shape),", "codes=faults.codes(self, codes).reshape(weight.shape),"),
    ],
    "qbench/quant/kernels/cpu/packed_native.py": [
        (
            f'        summary="weight-only, {NATIVE}",\n'
            '        devices=("cpu",), activations=("none",), num_bits=WIDTHS,',
            '        summary="",\n'
            '        devices=("cpu",), activations=("none",), num_bits=(2, 3, 4, 6, 7, 8),',
        )
    ],
    "qbench/measure/generation.py": [
        (
            '        assert self.token is not None, "prefill comes first"\n',
            f"{IMPORT}        faults.stepping(self.model)\n",
        ),
    ],
    "qbench/run/worker/remote_plan.py": [
        (
            "        for one in planner.plan(work.rules)\n",
            '        for one in planner.plan(work.rules)\n        if one.cell.params.get("num_bits") != 6\n',
        ),
    ],
}
"""What is wrong with the candidate: see `FAULTS_MODULE`."""
FAULTS_MODULE = """
import os, time

warm = False

def quantizing(method):
    if method.num_bits == 3:
        os.kill(os.getpid(), 9)
    if method.num_bits == 7 and warm:
        raise MemoryError("no room on purpose")

def codes(method, codes):
    if method.num_bits == 4:
        codes[:, ::7] = codes[:, ::7].clamp(max=8)
    return codes

def stepping(model):
    global warm
    warm = True
    from qbench.quant.model.convert import quantized_layers
    if any(layer.spec.num_bits == 8 for _, layer in quantized_layers(model)):
        time.sleep(0.02)
"""


def copied(folder: Path, faults: dict[str, list[tuple[str, str]]]) -> install.Installed:
    """An environment with a copy of this tree in which each fault replaced a piece of text."""
    python = install._environment(folder)
    packages = install._packages_folder(folder)
    shutil.copytree(ROOT / "qbench", packages / "qbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("methods", "suites"):
        shutil.copytree(ROOT / name, packages / "qbench" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, pairs in faults.items():
        path = packages / (file if file.startswith("qbench") else f"qbench/{file}")
        text = path.read_text()
        for old, new in pairs:
            assert text.count(old) == 1, f"{file} has changed; the fault finds no place"
            text = text.replace(old, new)
        path.write_text(text)
    (packages / "qbench" / "run" / "faults.py").write_text(FAULTS_MODULE)
    return install.Installed(str(python), "a faulty copy", "", packages / "qbench")

"""`qbench.quant`: the names that methods and kernels import, without torch until one is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import qbench.quant
from qbench.quant.formats import affine as affine_module

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there() -> None:
    for name in qbench.quant.__all__:
        assert getattr(qbench.quant, name) is not None
    assert qbench.quant.affine is affine_module
    assert qbench.quant.calibrated is qbench.quant.static_scales


def test_importing_it_and_what_a_method_s_top_needs_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from qbench.quant import Layer, Method, Statistic, checked_group_size, checked_percentile\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_methods_import_qbench_and_its_quant_only() -> None:
    for path in (ROOT / "methods").glob("*.py"):
        found = {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qbench")
        }
        assert found <= {"qbench", "qbench.quant"}, path

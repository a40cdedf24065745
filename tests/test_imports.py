"""Every module of qbench is importable as it runs: names that only a type checker sees are not enough."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, pkgutil, qbench
for module in pkgutil.walk_packages(qbench.__path__, "qbench."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_every_module_is_importable() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

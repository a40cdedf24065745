"""The house's rules: imports go down only, the reading wing needs no torch, nobody imports a method."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BELOW = {
    "errors": set[str](),
    "data": set[str](),
    "suite": {"errors"},
    "results": {"suite", "errors"},
    "report": {"results", "suite", "errors"},
    "models": {"suite", "errors"},
    "quant": {"suite", "errors"},
    "measure": {"quant", "models", "suite", "errors"},
    "run": {"measure", "quant", "models", "results", "suite", "errors"},
    "cli": {"run", "report", "results", "measure", "quant", "models", "suite", "errors"},
}
READING = ("suite", "results", "report", "cli")
HEAVY = {"torch", "transformers", "lm_eval"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("package", BELOW)
def test_imports_go_down_only(package: str) -> None:
    for path in [*_files(f"qbench/{package}"), *([ROOT / "qbench/errors.py"] if package == "errors" else [])]:
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "qbench" and len(parts) > 1 and parts[1] in BELOW:
                assert parts[1] in BELOW[package] | {package}, f"{path}: {package} must not import {name}"


def test_every_package_stands_on_a_floor() -> None:
    found = {path.parent.name for path in (ROOT / "qbench").glob("*/__init__.py")}
    assert found == set(BELOW) - {"errors"}


@pytest.mark.parametrize("package", READING)
def test_the_reading_wing_names_no_torch(package: str) -> None:
    for path in _files(f"qbench/{package}"):
        assert not HEAVY & {name.split(".")[0] for name in _imports(path)}, path


def test_the_pytest_plugin_stands_on_the_floor_of_the_command_line() -> None:
    """Loaded into every pytest of its environment: at its top it imports pytest and nothing of qbench."""
    path = ROOT / "qbench/pytest_plugin.py"
    assert not HEAVY & {name.split(".")[0] for name in _imports(path)}
    at_once = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    names = {
        node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in at_once
    }
    assert names == {"__future__", "sys", "collections.abc", "pathlib", "typing", "pytest"}


def test_methods_import_public_names_and_nobody_imports_them() -> None:
    for path in _files("methods"):
        ours = {name for name in _imports(path) if name.split(".")[0] == "qbench"}
        assert all(name.count(".") <= 1 or name.startswith("qbench.quant.") for name in ours), (
            f"{path}: {ours}"
        )
    for path in _files("qbench"):
        assert not [name for name in _imports(path) if name.startswith("qbench.methods.")], path


def test_reading_and_planning_load_no_torch() -> None:
    code = (
        "import sys, qbench.cli.app, qbench.report.leaderboard.leaderboard, qbench.results.frames.frame\n"
        "import qbench.run.runner\n"
        "from qbench.quant import registry\n"
        "[registry.method_class(name) for name in registry.available()]\n"
        "heavy = {'torch', 'transformers', 'lm_eval'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Imports go down only and never in a circle, the reading wing needs no torch, nobody imports a method."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

_GROUND = {"errors", "cache", "cell", "fields", "json_object", "section"}
_READING = {"results", "probes", "suite", "models", *_GROUND}
_MEASURING = {"measure", "quant", "models", "suite", *_GROUND}
BELOW = {
    "errors": set[str](),
    "cache": set[str](),
    "data": set[str](),
    "json_object": set[str](),
    "cell": {"errors", "json_object"},
    "fields": {"errors"},
    "section": {"errors", "cell", "fields", "json_object"},
    "suite": _READING,
    "results": _READING,
    "probes": _READING,
    "models": _GROUND,
    "quant": {"suite", *_GROUND},
    "measure": _MEASURING,
    "probes.measure": {"probes", *_MEASURING},
    "run": {"probes.measure", *_READING, *_MEASURING},
    "report": _READING,
    "gate": {"run", "report", "probes.measure", *_READING, *_MEASURING},
    "cli": {"gate", "run", "report", "probes.measure", *_READING, *_MEASURING},
}
"""Floor → the floors that it may import. `probes.measure`: the folders `measure` of all probes, the only
parts of a probe that may import torch."""
READING = ("suite", "results", "probes", "report", "cli")
HEAVY = {"torch", "transformers", "lm_eval"}
ABOVE = {"pytest_bench", "pytest_plugin", "__init__", "__main__"}
"""Modules of the top folder that stand on the floor of the command line."""


def _imports(path: Path) -> Iterator[str]:
    """Every name that the file imports, for type hints too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _floor(module: str) -> str:
    parts = module.split(".")[1:]
    if not parts:
        return "qbench"
    return "probes.measure" if parts[0] == "probes" and parts[2:3] == ["measure"] else parts[0]


MODULES = {_module(path): path for path in _files("qbench")}


@functools.cache
def _graph() -> dict[str, set[str]]:
    """Module → modules of ours that it imports; of `from package import name` the module that it names."""
    graph = {}
    for module, path in MODULES.items():
        names = {name for name in _imports(path) if name in MODULES and name not in ("qbench", module)}
        packages = {name for name in names if any(other.startswith(f"{name}.") for other in names)}
        graph[module] = names - packages
    return graph


def _circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one member (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for node in graph:
        if node not in index:
            visit(node)
    return found


def _folder(module: str) -> str:
    """A module's folder; each module of the top folder is one of its own."""
    path = MODULES[module]
    if path.parent == ROOT / "qbench" or path.name == "__init__.py":
        return module
    return module.rpartition(".")[0]


def test_circles_are_found() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]


def test_no_two_modules_import_each_other() -> None:
    assert _circles({name: others for name, others in _graph().items() if name != "qbench"}) == []


def test_no_two_folders_import_each_other() -> None:
    folders: dict[str, set[str]] = defaultdict(set)
    for module, others in _graph().items():
        if module not in ("qbench", "qbench.__main__"):
            folders[_folder(module)] |= {_folder(other) for other in others} - {_folder(module)}
    assert _circles(folders) == []


@pytest.mark.parametrize("floor", BELOW)
def test_imports_go_down_only(floor: str) -> None:
    for module, others in _graph().items():
        if _floor(module) == floor:
            above = {other for other in others if _floor(other) not in BELOW[floor] | {floor}}
            assert not above, f"{module}: {floor} must not import {above}"


def test_every_package_stands_on_a_floor() -> None:
    assert {_floor(module) for module in MODULES} - {"qbench"} == set(BELOW) | ABOVE - {"__init__"}


def test_every_folder_says_what_lives_there() -> None:
    for path in (ROOT / "qbench").rglob("__init__.py"):
        assert path.parent.name == "data" or ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("floor", READING)
def test_the_reading_wing_names_no_torch(floor: str) -> None:
    for module, path in MODULES.items():
        if _floor(module) == floor:
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


def test_every_module_can_be_imported() -> None:
    """All but the functions of Triton, which is an optional package, and the recipes, which are programs."""
    names = [name for name in MODULES if "triton" not in name and not name.endswith(("recipe", "__main__"))]
    code = f"import importlib\nfor name in {names}:\n    importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_packages_are_listed_for_the_build() -> None:
    """setuptools is told every folder: one that is forgotten would be missing from a wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    assert set(listed) == folders | {"qbench.methods", "qbench.suites"}


def test_reading_and_planning_load_no_torch() -> None:
    code = (
        "import sys, qbench.cli.app, qbench.report.leaderboard.leaderboard, qbench.results.frames.frame\n"
        "import qbench.run.runner, qbench.probes.registry\n"
        "from qbench.quant.method import registry\n"
        "[registry.method_class(name) for name in registry.available()]\n"
        "qbench.probes.registry.probes()\n"
        "heavy = {'torch', 'transformers', 'lm_eval'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

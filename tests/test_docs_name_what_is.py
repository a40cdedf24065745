"""Documents and docstrings name modules, attributes and files that exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("qbench", "methods", "tests", "docs", "suites", "results")
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), ROOT / "results/README.md"]
SOURCES = [
    path for folder in ("qbench", "methods", "tests") for path in sorted((ROOT / folder).rglob("*.py"))
]
FILES = [path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
ENDINGS = tuple(f"/{path}" for path in FILES)
OTHERS = {"opt.py", "llama.py", "qbench.json", "qbench.safetensors", "qbench.unpack"}
"""Files of other projects and of a saved model, and a function of the page's script."""
RECIPES = (ROOT / "CONTRIBUTING.md").read_text()
WRITTEN = set(re.findall(r"^# (\S+\.py)$", RECIPES, re.MULTILINE))
"""Files that a reader of CONTRIBUTING writes: each recipe opens with the name of its file."""
GROUPS = {
    f"qbench.{name}" for name in ("methods", "metrics", "probes", "kernels", "executors", "check", "units")
}
"""Entry points, the pytest fixture and a key of Parquet's metadata."""
DOTTED = re.compile(r"(?<![\w./-])qbench(?:\.[A-Za-z_]\w*)+(?!/)")
PATHS = re.compile(r"(?<![\w./-])(?:[a-z_]+/)*[\w-]+\.py\b")


def _texts(path: Path) -> Iterator[str]:
    """A document whole; of a source its docstrings, those of attributes too."""
    if path.suffix == ".md":
        yield path.read_text()
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value


def _exists(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def _missing(text: str) -> list[str]:
    names = set(DOTTED.findall(text)) - GROUPS - OTHERS
    paths = {path for path in PATHS.findall(text) if path not in OTHERS and not _known(path)}
    return sorted({name for name in names if not _exists(name)} | paths)


def _known(path: str) -> bool:
    return path in WRITTEN or (ROOT / path).exists() or any(known.endswith(f"/{path}") for known in ENDINGS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents(path: Path) -> None:
    assert [name for text in _texts(path) for name in _missing(text)] == []


def test_docstrings() -> None:
    found = [(path.relative_to(ROOT).as_posix(), _missing("\n".join(_texts(path)))) for path in SOURCES]
    assert [(path, names) for path, names in found if names] == []


def test_what_is_gone_is_found() -> None:
    assert _missing(
        "see `qbench.results.nowhere` and `results/gone.py`, not `qbench.load` or `stats/bootstrap.py`"
    ) == [
        "qbench.results.nowhere",
        "results/gone.py",
    ]

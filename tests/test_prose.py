"""Rules of prose that a machine can hold: openings of docstrings, and words that no name contains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("qbench", "methods") for path in (ROOT / folder).rglob("*.py"))
OPENINGS = re.compile(r"(What|Which|Whether|Of|How|Where|That|Whose|Why)\b")
PRIVATE = {
    "flight", "flights", "lap", "laps", "errand", "errands", "duel", "duels", "lane", "lanes", "crew",
    "night", "nights", "betting", "album", "corner", "corners", "gathered",
}  # fmt: skip
"""Words of the old private vocabulary; `docs/architecture.md` has the terms in use."""
RECORDED = {"lap", "laps", "errand", "corner"}
"""Names that stand in stored records, in the JSON of a gate, and in messages to workers of older versions."""


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and first line of the docstring of the module and of each class and public function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        ):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.splitlines()[0]


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that the module gives: to functions, classes, arguments, variables and fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name


def _words(name: str) -> set[str]:
    """`kept_cells` → kept, cells; `FlightState` → flight, state."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def openings(tree: ast.Module) -> list[str]:
    return [f"{line}: {text}" for line, text in _docstrings(tree) if OPENINGS.match(text)]


def private_names(tree: ast.Module) -> list[str]:
    return sorted(
        {f"{line}: {name}" for line, name in _names(tree) if name not in RECORDED and _words(name) & PRIVATE}
    )


def test_violations_are_found() -> None:
    tree = ast.parse(
        '"""What it is."""\n'
        'class Flight:\n    """Which one."""\n    crew: int\n'
        'def lane(corner_of, *, x):\n    """How far."""\n    duel_count = 1\n'
        'def _hidden():\n    """Whether it is."""\n'
        "import a.b as crew\n"
        "def whole(ofen):\n"
        '    """Offset of a word; whatever it is."""\n    lap = keptness = 1\n'
    )
    assert openings(tree) == ["1: What it is.", "2: Which one.", "5: How far."]
    assert private_names(tree) == [
        "10: crew",
        "2: Flight",
        "4: crew",
        "5: corner_of",
        "5: lane",
        "7: duel_count",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_open_with_a_noun_or_a_verb(path: Path) -> None:
    assert not openings(_tree(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_are_no_private_vocabulary(path: Path) -> None:
    assert not private_names(_tree(path))
    assert not _words(path.stem) & PRIVATE

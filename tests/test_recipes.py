"""The recipes of CONTRIBUTING.md work as they are printed: a stranger's package, registered and checked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
SEEN = {
    "A metric": ("Worst layer", "0.007821"),
    "A probe": ("tokenizer", "Tokenizer"),
    "A kernel": ("whole_gemm (cached)", "an example"),
    "A method": ("Conformance of nearest8", "nearest8"),
    "An executor": ("ok",),
}
"""Words that the commands of a recipe print."""


@dataclass(frozen=True)
class Recipe:
    """The blocks of one recipe: files by path, entry points, commands."""

    files: dict[str, str]
    entry_points: str
    commands: list[str]


def recipe(title: str) -> Recipe:
    """The recipe under this heading. A file's block begins with its path as a comment."""
    section = TEXT.split(f"\n### {title}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    blocks = BLOCK.findall(section)
    files = {}
    for language, text in blocks:
        if language in ("python", "yaml"):
            first, _, _ = text.partition("\n")
            assert first.startswith("# "), f"{title}: a block of {language} without its file's name"
            files[first.removeprefix("# ")] = text
    registered = "".join(text.replace("[project.entry-points.", "[").replace('"', "")
                         for language, text in blocks if language == "toml")  # fmt: skip
    commands = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    return Recipe(files, registered, commands)


def install(recipe: Recipe, place: Path) -> None:
    """Writes the package and its metadata as pip would, into a folder that will be on the path."""
    for name, text in recipe.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    metadata = place / "stranger-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(recipe.entry_points)
    (place / "results").mkdir()
    (place / "results" / "examples").symlink_to(ROOT / "results" / "examples")


def run(command: str, place: Path) -> str:
    path = f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    words = command.replace("qbench ", f"{sys.executable} -m qbench ", 1)
    done = subprocess.run(
        words, shell=True, cwd=place, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_recipe_is_tried_or_shown_only() -> None:
    titles = re.findall(r"^### (.+)$", TEXT.split("\n## Recipes\n")[1].split("\n## ")[0], re.MULTILINE)
    assert set(titles) == {*SEEN, "A page"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("title", SEEN)
def test_a_recipe_works_as_it_is_printed(title: str, tmp_path: Path) -> None:
    found = recipe(title)
    assert found.files
    assert found.commands
    install(found, tmp_path)
    printed = "\n".join(run(command, tmp_path) for command in found.commands)
    for words in SEEN[title]:
        assert words in printed, f"{title}: {words!r} is not in\n{printed}"

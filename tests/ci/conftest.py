"""The machine that a workflow's steps run on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.ci.machine import SUITE, Machine, git, stub


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A checkout with a suite and an `origin`, where `python -m pip` installs nothing."""
    folder, stubs, origin = tmp_path / "work", tmp_path / "stubs", tmp_path / "origin.git"
    for made in (folder, stubs, origin):
        made.mkdir()
    git(origin, "init", "--quiet", "--bare")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "tiny.yaml").write_text(SUITE)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    git(folder, "remote", "add", "origin", str(origin))
    pip = f'if [ "$1 $2" = "-m pip" ]; then echo "$@" >> {tmp_path}/pip; else exec {sys.executable} "$@"; fi'
    stub(stubs, "python", pip)
    return Machine(folder, stubs, {"github.workspace": str(tmp_path)})

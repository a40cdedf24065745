"""Every command and every block of code in the README runs, as a new user would run it.

The package is installed from the checkout into an environment of its own (dependencies are shared with this
one), so that what is tested is the wheel, not the source tree.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in _blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder to work in, beside a fresh environment and a copy of the sources."""
    place = tmp_path_factory.mktemp("user")
    venv.create(place / "venv", with_pip=True)
    (packages,) = (place / "venv" / "lib").glob("python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    for name in ("qbench", "methods", "suites", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (place / "source").mkdir(exist_ok=True)
        copy(ROOT / name, place / "source" / name)
    (place / "work").mkdir()
    (place / "work" / "mine.yaml").write_text(_blocks("yaml")[0])
    return place


def _run(place: Path, command: str, folder: str = "work") -> subprocess.CompletedProcess[str]:
    path = f"{place / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    changed = {"PATH": path, "QBENCH_CACHE": str(place / "cache"), "PYTHONPATH": ""}
    done = subprocess.run(
        command, shell=True, cwd=place / folder, env={**os.environ, **changed}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def test_every_command_runs_in_order(place: Path) -> None:
    assert COMMANDS[0] == "pip install ."
    _run(place, COMMANDS[0], "source")
    for command in COMMANDS[1:]:
        done = _run(place, command)
        if command == "qbench run quickstart":
            assert (place / "work" / done.stdout.rsplit("leaderboard: ")[1].strip()).stat().st_size > 10_000
    frame = pd.read_parquet(place / "work" / "results.parquet")
    assert (frame["status"] == "ok").all()
    assert len(frame) >= 10
    assert (place / "work" / "leaderboard.html").exists()
    for code in _blocks("python"):
        script = place / "work" / "block.py"
        script.write_text(code)
        printed = _run(place, f"python {script}").stdout
        assert "perplexity" in printed
    where = _run(place, "python -c 'import qbench, qbench.methods; print(qbench.__file__)'").stdout
    assert str(place / "venv") in where, "the source tree was imported, not the installed package"


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_this_interpreter_has_what_the_readme_asks() -> None:
    assert sys.version_info >= (3, 11)

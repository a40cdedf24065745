"""Commands that read or plan load no torch: they answer at once, and on a machine that cannot measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOUR = str(Path(__file__).resolve().parents[2] / "results/examples/tour")
HEAVY = ("torch", "transformers", "lm_eval", "accelerate")
CODE = f"""
import sys
from qbench.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.exit("loaded: " + ", ".join(found) if (found := {HEAVY!r} & sys.modules.keys()) else 0)
""".replace(repr(HEAVY), repr(set(HEAVY)))
COMMANDS = (
    ["--help"],
    ["--version"],
    ["list", "methods"],
    ["list", "models"],
    ["list", "probes"],
    ["list", "suites"],
    ["plan", "quickstart"],
    ["show", TOUR],
    ["report", TOUR],
    ["report", TOUR, "--format", "markdown"],
    ["compare", TOUR, TOUR],
    ["history", "perplexity", TOUR],
    ["export", TOUR, "-o", "out.parquet"],
    ["export", TOUR, "-o", "out.csv", "--table", "layers"],
    ["export", TOUR, "-o", "out.json", "--table", "samples"],
    ["schema"],
)


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words).replace(TOUR, "RESULTS"))
def test_it_loads_no_torch(words: list[str], tmp_path: Path) -> None:
    done = _run(words, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_command_that_loads_torch_is_noticed(tmp_path: Path) -> None:
    done = _run(["list", "kernels"], tmp_path)
    assert done.returncode == 1
    assert "loaded: " in done.stderr
    assert "torch" in done.stderr

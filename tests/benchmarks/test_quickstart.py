"""The quickstart's promise: every method on the embedded model within two minutes on 2 cores."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 120


@pytest.mark.timeout(600)
def test_the_quickstart_ends_within_two_minutes(benchmark: Any, tmp_path: Path) -> None:
    if benchmark.disabled:
        pytest.skip("timed only; the README's test runs the same command")
    started = time.perf_counter()
    command = [sys.executable, "-m", "qbench", "run", "quickstart", "--results", str(tmp_path)]
    done = benchmark.pedantic(subprocess.run, args=(command,), rounds=1, iterations=1)
    assert done.returncode == 0
    assert time.perf_counter() - started < LIMIT_S

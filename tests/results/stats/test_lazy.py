"""SciPy is imported where a number of it is needed: importing it takes longer than `qbench --help`."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import qbench.cli.app, qbench.gate.command, qbench.results.frames.frame, qbench.results.compare.compare
assert "scipy" not in sys.modules
from qbench.results.stats.bootstrap import student_quantile
from qbench.results.stats.medians import median_interval
assert median_interval(range(30)) is not None
assert "scipy" not in sys.modules, "a median of rounds is read by forked children"
student_quantile(0.975, 3)
assert "scipy.special" in sys.modules and "scipy.stats" not in sys.modules, "the light part suffices"
"""


def test_scipy_is_imported_where_it_is_needed() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)

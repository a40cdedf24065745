"""The cache folder, for what qbench can make or fetch again: models, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$QBENCH_CACHE`, or `qbench` in the user's cache folder."""
    if given := os.environ.get("QBENCH_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qbench"

"""Check that a runtime can be had on this machine, without importing torch."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

from qbench.cell import EAGER


def why_not(runtime: str, device: str) -> str | None:
    """Reason that `runtime` cannot run on `cpu` or `cuda:N` here, with the way out; None where it can."""
    if runtime == EAGER:
        return None
    if device == "cpu":
        return _no_compiler() or _no_headers()
    if importlib.util.find_spec("triton") is None:
        return "runtime compile on a GPU needs Triton, which is not installed; it comes with torch for CUDA"
    return None


def _no_compiler() -> str | None:
    """torch's inductor calls `$CXX`, or `g++`, for every fused loop of a graph on a CPU."""
    named = os.environ.get("CXX")
    wanted = named or "g++"
    if shutil.which(wanted):
        return None
    source = "CXX names" if named else "it looks for"
    return (
        f"runtime compile needs a C++ compiler, and {source} {wanted!r}, which is not on the PATH; "
        "install one, name one in CXX, or drop compile from runtimes"
    )


def _no_headers() -> str | None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if header.exists():
        return None
    return f"runtime compile needs Python's C headers, and there is no {header}; install them (python3-dev)"

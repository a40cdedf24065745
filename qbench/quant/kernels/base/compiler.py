"""Compiles the kernels in `c/` for this machine at first use, and keeps the library in the cache.

`cc` takes some seconds with `-march=native`; the library's name hashes sources, compiler, flags and CPU, so
that a cache may be shared by unlike machines. It shares torch's OpenMP threads. Where there is no compiler,
OSError says so, and the kernel table takes torch's kernels: a named choice, not a silent one.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from qbench.cache import cache_folder

FOLDER = Path(__file__).with_name("c")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
"""Without -ffast-math: a library linked with it makes the whole process flush small numbers to zero."""
TIMEOUT_S = 120


def built(*extra_flags: str) -> Path:
    """The shared library; compiled whole, then named. Raises OSError or subprocess.SubprocessError."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise OSError("no C compiler (cc, gcc, clang) on the PATH; install one for fast packed kernels")
    flags = (*FLAGS, *extra_flags)
    sources = sorted(path for path in FOLDER.iterdir() if path.suffix in (".c", ".h"))
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=30).stdout
    parts = [*(path.read_bytes() for path in sources), version, _cpu(), " ".join(flags).encode()]
    path = cache_folder() / "native" / f"{hashlib.sha256(b'|'.join(parts)).hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / "native.so"
            inputs = [str(path) for path in sources if path.suffix == ".c"]
            command = [compiler, *flags, "-o", str(made), *inputs]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
            if done.returncode:
                raise OSError(f"{compiler} failed: {done.stderr.strip()[:300] or done.returncode}")
            made.replace(path)
    return path


def _cpu() -> bytes:
    """The facts of the CPU that `-march=native` depends on."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor().encode()
    lines = info.read_text().split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features"))).encode()

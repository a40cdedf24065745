"""The simulated NVML: compiles it, loads it where nvidia-ml-py finds it, and drives its clock and its GPUs.

`libnvidia-ml.so.1` is a real shared library. In this process it is loaded ahead, so that the loader finds it
by its name when nvidia-ml-py asks for `libnvidia-ml.so.1`; a process of its own finds it by LD_LIBRARY_PATH.
"""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qbench.probes.energy.measure.meter import Clock

SONAME = "libnvidia-ml.so.1"
HERE = Path(__file__).parent
SHAPES = {"constant": 0, "burst": 1, "ramp": 2, "decay": 3}
START_S = 100.0
CALL_S = 1e-5
"""What one call of NVML costs on the virtual clock."""


def build(*flags: str) -> Path:
    """The folder with the library, compiled once per source and flags. Skips where there is no compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc, clang) on the PATH builds the simulated NVML")
    sources = sorted(HERE.glob("*.[ch]"))
    key = hashlib.sha256(b"|".join([*(path.read_bytes() for path in sources), " ".join(flags).encode()]))
    folder = Path(tempfile.gettempdir()) / f"qbench-nvml-{os.getuid()}-{key.hexdigest()[:16]}"
    if not (folder / SONAME).exists():
        folder.mkdir(exist_ok=True)
        scratch = folder / f"{os.getpid()}.so"
        command = [
            compiler,
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            f"-Wl,-soname,{SONAME}",
        ]
        code = [str(path) for path in sources if path.suffix == ".c"]
        subprocess.run([*command, *flags, "-o", str(scratch), *code, "-lm"], check=True, timeout=60)
        scratch.replace(folder / SONAME)
    return folder


class SimulatedClock(Clock):
    """The library's own clock: it moves when someone sleeps, works or calls NVML, and 1 µs at every look."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.sim_now_s.restype = ctypes.c_double

    def now_s(self) -> float:
        self._library.sim_pass(ctypes.c_double(1e-6))
        return float(self._library.sim_now_s())

    def sleep_s(self, seconds: float) -> None:
        self._library.sim_pass(ctypes.c_double(seconds))


class SimulatedNvml:
    """The library and `pynvml`, a copy of nvidia-ml-py's module that found it through the ordinary loader."""

    def __init__(self, library: ctypes.CDLL, pynvml: Any) -> None:
        self.library, self.pynvml, self.clock = library, pynvml, SimulatedClock(library)
        library.sim_energy_j.restype = library.sim_power_w.restype = ctypes.c_double
        self.reset()

    def reset(self, call_s: float = CALL_S) -> None:
        """No GPUs, no failures, and the clock back at its start."""
        self.library.sim_reset(ctypes.c_double(START_S), ctypes.c_double(call_s))

    def fail(self, function: str, error: int) -> None:
        """Lets an NVML function answer an error from now on."""
        self.library.sim_fail(function.encode(), error)

    def add_gpu(
        self, uuid: str = "GPU-0", name: str = "Simulated H100", idle_w: float = 60.0
    ) -> SimulatedGpu:
        index = self.library.sim_add_gpu(uuid.encode(), name.encode(), ctypes.c_double(idle_w))
        return SimulatedGpu(self, index, uuid, idle_w)


class SimulatedGpu:
    """One GPU; it counts every 100 ms to 1 mJ, exactly, and idles until it is given a load."""

    def __init__(self, nvml: SimulatedNvml, index: int, uuid: str, idle_w: float) -> None:
        self.nvml, self.index, self.uuid, self.idle_w = nvml, index, uuid, idle_w
        self.counter()
        self.sensor()

    def counter(self, tick_s: float = 0.1, jitter: float = 0.0, step_mj: int = 1, lag_s: float = 0.0) -> None:
        times = (ctypes.c_double(number) for number in (tick_s, jitter, lag_s))
        self._set("counter", *times, ctypes.c_ulonglong(step_mj))

    def sensor(self, period_s: float = 0.1, duty: float = 1.0, average_s: float = 1.0) -> None:
        self._set("sensor", ctypes.c_double(period_s), ctypes.c_double(duty), ctypes.c_double(average_s))

    def facts(self, mig: int = 0, temperature_c: int = 41, throttle: int = 0) -> None:
        self._set("facts", mig, temperature_c, ctypes.c_ulonglong(throttle))

    def scopes(self, gpu: bool = True, module: bool = False, module_w: float = 0.0) -> None:
        self._set("scopes", int(gpu), int(module), ctypes.c_double(module_w))

    def processes(self, *pids: int) -> None:
        self._set("processes", len(pids), (ctypes.c_uint * len(pids))(*pids))

    def load(self, shape: str, low_w: float, high_w: float, period_s: float = 1.0, duty: float = 1.0) -> None:
        """What it draws from now on; see curve.h for the shapes."""
        numbers = (ctypes.c_double(number) for number in (low_w, high_w, period_s, duty))
        self._set("load", SHAPES[shape], *numbers)

    def rest(self, decay_s: float = 0.0, from_w: float = 0.0) -> None:
        """Idle from now on, at once or sinking from `from_w`."""
        if decay_s:
            self.load("decay", from_w, self.idle_w, decay_s)
        else:
            self.load("constant", self.idle_w, self.idle_w)

    def true_j(self, until_s: float) -> float:
        """Joules since the clock's zero, in closed form."""
        return float(self.nvml.library.sim_energy_j(self.index, ctypes.c_double(until_s)))

    def power_w(self, at_s: float) -> float:
        """Watts of the curve at an instant."""
        return float(self.nvml.library.sim_power_w(self.index, ctypes.c_double(at_s)))

    def _set(self, what: str, *arguments: Any) -> None:
        function: Callable[..., None] = getattr(self.nvml.library, f"sim_{what}")
        function(self.index, *arguments)


@contextmanager
def simulated(*flags: str) -> Iterator[SimulatedNvml]:
    """The library in this process, and out of it again, so that no other test finds it."""
    library = ctypes.CDLL(str(build(*flags) / SONAME))
    with _own_pynvml() as pynvml:
        try:
            pynvml._LoadNvmlLibrary()
            if pynvml.nvmlLib._handle != library._handle:  # a driver's own library was here before ours
                _ctypes.dlclose(pynvml.nvmlLib._handle)
                pynvml.nvmlLib = library
            yield SimulatedNvml(library, pynvml)
        finally:
            if pynvml.nvmlLib is not library:
                _ctypes.dlclose(pynvml.nvmlLib._handle)
            _ctypes.dlclose(library._handle)


@contextmanager
def _own_pynvml() -> Iterator[Any]:
    """nvidia-ml-py anew for whoever imports it meanwhile: it remembers for good which library it loaded."""
    before = sys.modules.pop("pynvml", None)
    try:
        yield importlib.import_module("pynvml")
    finally:
        del sys.modules["pynvml"]
        if before is not None:
            sys.modules["pynvml"] = before

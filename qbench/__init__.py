"""qbench: quality, latency, memory and energy of really quantized language models, in one row.

    frame = qbench.load("results/")      # a row per cell, tidy; samples() has every raw number, layers() a
                                         # row per layer, history() every run with its change points
    class Mine(qbench.Method): ...       # a method of your own
    qbench.load_quantized("folder")      # what `qbench quantize` wrote, as a model to run

Importing qbench imports neither torch nor pandas; each name below loads what it needs when first used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from qbench.errors import (
    DeviceError,
    KernelError,
    MethodError,
    ModelError,
    QbenchError,
    ResultsError,
    SuiteError,
)

if TYPE_CHECKING:
    from qbench.cell import Cell
    from qbench.quant.formats.affine import AffineWeight
    from qbench.quant.method.base import Layer, Method
    from qbench.quant.model.checkpoint import load_quantized
    from qbench.results.frames.frame import load
    from qbench.results.frames.layer_frame import layers
    from qbench.results.frames.sample_frame import samples
    from qbench.results.frames.task_frame import load_tasks
    from qbench.results.history.history import history
    from qbench.results.store.record import Record
    from qbench.suite.load import load_suite
    from qbench.suite.spec import Suite

try:
    __version__ = version("qbench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_LAZY = {
    "AffineWeight": "qbench.quant.formats.affine",
    "Cell": "qbench.cell",
    "Layer": "qbench.quant.method.base",
    "Method": "qbench.quant.method.base",
    "Record": "qbench.results.store.record",
    "Suite": "qbench.suite.spec",
    "history": "qbench.results.history.history",
    "layers": "qbench.results.frames.layer_frame",
    "load": "qbench.results.frames.frame",
    "load_quantized": "qbench.quant.model.checkpoint",
    "load_suite": "qbench.suite.load",
    "load_tasks": "qbench.results.frames.task_frame",
    "samples": "qbench.results.frames.sample_frame",
}

__all__ = [
    "AffineWeight",
    "Cell",
    "DeviceError",
    "KernelError",
    "Layer",
    "Method",
    "MethodError",
    "ModelError",
    "QbenchError",
    "Record",
    "ResultsError",
    "Suite",
    "SuiteError",
    "history",
    "layers",
    "load",
    "load_quantized",
    "load_suite",
    "load_tasks",
    "samples",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'qbench' has no attribute {name!r}")

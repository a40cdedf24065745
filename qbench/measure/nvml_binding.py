"""NVML's Python binding (`nvidia-ml-py`), loaded when it is first asked, and its names of CUDA devices."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


def bindings() -> ModuleType:
    return importlib.import_module("pynvml")


def uuid_of(properties: Any) -> str:
    """NVML's name for a CUDA device (`torch.cuda.get_device_properties`): `GPU-…` or `MIG-…`."""
    uuid = str(properties.uuid)
    if uuid.startswith(("GPU-", "MIG-")):
        return uuid
    return f"MIG-{uuid}" if "MIG" in str(properties.name) else f"GPU-{uuid}"

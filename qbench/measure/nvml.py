"""A GPU's energy counter and its surroundings, through NVML (`nvidia-ml-py`, module `pynvml`).

`nvmlDeviceGetTotalEnergyConsumption`: millijoules since the driver was loaded, Volta and newer. Instant power
comes from field 186, since `nvmlDeviceGetPowerUsage` is a one-second average on most GPUs. NVML's own indices
ignore CUDA_VISIBLE_DEVICES, so a CUDA device is found by its UUID, never by its index.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from qbench.measure.meter import NoEnergy, Reason

POWER_INSTANT_FIELD = 186
"""NVML_FI_DEV_POWER_INSTANT: milliwatts, at this moment."""

_REASONS: dict[str, Reason] = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": "no_driver",
    "NVML_ERROR_DRIVER_NOT_LOADED": "no_driver",
    "NVML_ERROR_UNINITIALIZED": "no_driver",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "no_driver",
    "NVML_ERROR_NO_PERMISSION": "no_permission",
}
"""NVML's error → ours; every other error is `not_supported`, with NVML's own words as detail."""

_STATE: dict[str, str] = {
    "power_limit_mw": "nvmlDeviceGetEnforcedPowerLimit",
    "throttle_reasons": "nvmlDeviceGetCurrentClocksThrottleReasons",
    "persistence_mode": "nvmlDeviceGetPersistenceMode",
}
"""Facts of one argument; a GPU that does not know one gives null."""


def bindings() -> ModuleType:
    return importlib.import_module("pynvml")


class NvmlMeter:
    """The energy counter of one whole GPU. Raises NoEnergy with the reason where it has none."""

    source = "nvml_counter"

    def __init__(self, uuid: str, library: Any) -> None:
        self._nvml = library
        self._call(library.nvmlInit)
        self._handle = self._find(uuid)
        if self._mig_enabled():
            raise NoEnergy("mig", f"{uuid} is cut into MIG instances; the counter knows only the whole GPU")
        self.energy_j()

    def energy_j(self) -> float:
        return float(self._call(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)) / 1000

    def power_w(self) -> float | None:
        try:
            (value,) = self._nvml.nvmlDeviceGetFieldValues(self._handle, [POWER_INSTANT_FIELD])
        except self._nvml.NVMLError:
            return None
        if value.nvmlReturn != self._nvml.NVML_SUCCESS:
            return None
        return float(value.value.uiVal) / 1000

    def state(self) -> dict[str, Any]:
        celsius = self._optional("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU)
        processes = self._optional("nvmlDeviceGetComputeRunningProcesses")
        return {
            "temperature_c": celsius,
            **{name: self._optional(function) for name, function in _STATE.items()},
            "sm_clock_mhz": self._optional("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            "processes": None if processes is None else len(processes),
        }

    def _find(self, uuid: str) -> Any:
        if uuid.startswith("MIG-"):
            raise NoEnergy("mig", f"{uuid} is a MIG instance; energy is counted for the whole GPU only")
        return self._call(self._nvml.nvmlDeviceGetHandleByUUID, uuid)

    def _mig_enabled(self) -> bool:
        try:
            current, _ = self._nvml.nvmlDeviceGetMigMode(self._handle)
        except self._nvml.NVMLError:  # a GPU without MIG answers "not supported"
            return False
        return bool(current == self._nvml.NVML_DEVICE_MIG_ENABLE)

    def _optional(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            known = {getattr(self._nvml, name, None): reason for name, reason in _REASONS.items()}
            raise NoEnergy(known.get(error.value, "not_supported"), str(error)) from error


def uuid_of(properties: Any) -> str:
    """NVML's name for a CUDA device (`torch.cuda.get_device_properties`): `GPU-…` or `MIG-…`."""
    uuid = str(properties.uuid)
    if uuid.startswith(("GPU-", "MIG-")):
        return uuid
    return f"MIG-{uuid}" if "MIG" in str(properties.name) else f"GPU-{uuid}"

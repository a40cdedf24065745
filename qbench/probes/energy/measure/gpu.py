"""One GPU as NVML knows it, found by UUID, and the facts that may explain its energy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from qbench.json_object import JsonObject
from qbench.probes.energy.measure.meter import NoEnergy, Reason

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
    "persistence_mode": "nvmlDeviceGetPersistenceMode",
}
"""Facts of one argument; a GPU that does not know one gives null."""


class Gpu:
    """A GPU's handle. Raises NoEnergy where there is no driver, no such GPU, or where it is cut up by MIG."""

    def __init__(self, uuid: str, library: Any) -> None:
        self.uuid = uuid
        self._nvml = library
        if uuid.startswith("MIG-"):
            raise NoEnergy("mig", f"{uuid} is a MIG instance; energy is counted for the whole GPU only")
        self._checked("nvmlInit")
        self._handle = self._checked("nvmlDeviceGetHandleByUUID", uuid)
        current = self.optional("nvmlDeviceGetMigMode")  # a GPU without MIG answers "not supported"
        if current is not None and current[0] == library.NVML_DEVICE_MIG_ENABLE:
            raise NoEnergy("mig", f"{uuid} is cut into MIG instances; the counter knows only the whole GPU")
        self.name = str(self.optional("nvmlDeviceGetName") or "")

    def call(self, function: str, *arguments: Any) -> Any:
        """An NVML function on this GPU; NoEnergy with the reason where it fails."""
        return self._checked(function, self._handle, *arguments)

    def optional(self, function: str, *arguments: Any) -> Any:
        """The same, or None where it fails or this driver lacks it."""
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except (self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):
            return None

    def throttle(self) -> int | None:
        """NVML's bits of why clocks are held down, under the name that this driver knows."""
        bits = self.optional("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:
            bits = self.optional("nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else int(bits)

    def state(self, siblings: Sequence[int] = ()) -> JsonObject:
        """Temperature, clocks, limits, throttling and processes now; null what the GPU does not know.

        `siblings` are the process ids of qbench's other workers on this GPU."""
        return {
            "temperature_c": self.optional("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            "sm_clock_mhz": self.optional("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": self.optional("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_MEM),
            **{name: self.optional(function) for name, function in _STATE.items()},
            "throttle": self.throttle(),
            **self._processes(siblings),
        }

    def _processes(self, siblings: Sequence[int]) -> JsonObject:
        """`processes` with a compute context, how many of them are workers of the same run, which are stopped
        while we measure, and how many are neither these nor ours.

        NVML tells the host's process ids. In a container ours is another one and is not found in the list:
        one of those listed is then taken for ours, and as many as there are siblings for theirs. An empty
        list tells nothing, since we are on the GPU.
        """
        listed = self.optional("nvmlDeviceGetComputeRunningProcesses")
        if not listed:
            found = None if listed is None else 0
            return {"processes": found, "sibling_processes": None, "other_processes": None}
        pids = {process.pid for process in listed}
        own = os.getpid() in pids
        ours = len(pids.intersection(siblings)) if own else min(len(siblings), len(listed) - 1)
        return {
            "processes": len(listed),
            "own_process_listed": own,
            "sibling_processes": ours,
            "other_processes": len(listed) - 1 - ours,
        }

    def _checked(self, function: str, *arguments: Any) -> Any:
        nvml = self._nvml
        try:
            return getattr(nvml, function)(*arguments)
        except nvml.NVMLError as error:
            known = {getattr(nvml, name, None): reason for name, reason in _REASONS.items()}
            raise NoEnergy(known.get(error.value, "not_supported"), f"{function}: {error}") from error

"""A GPU's energy counter, or its instant power, through NVML (`nvidia-ml-py`, module `pynvml`).

`nvmlDeviceGetTotalEnergyConsumption`: millijoules since the driver was loaded, Volta and newer. Instant
power comes from field 186, since `nvmlDeviceGetPowerUsage` is a one-second average on most GPUs; it is asked
for the scope that the counter covers (on GH200 the whole module), and for the other one where that is not
there. NVML's own indices ignore CUDA_VISIBLE_DEVICES, so a CUDA device is found by its UUID, never by its
index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qbench.json_object import JsonObject
from qbench.probes.energy.measure.gpu import Gpu
from qbench.probes.energy.measure.meter import Glance, Method, NoEnergy

POWER_INSTANT_FIELD = 186
"""NVML_FI_DEV_POWER_INSTANT: milliwatts, at this moment."""
SCOPES = {"gpu": 0, "module": 1}
"""NVML_POWER_SCOPE_GPU, NVML_POWER_SCOPE_MODULE."""
MODULES = ("GH200",)
"""Named so, the counter covers the CPU beside the GPU as well."""
RESOLUTION_J = 0.001


class NvmlMeter:
    """One whole GPU. Raises NoEnergy with the reason where it has neither a counter nor instant power."""

    def __init__(self, uuid: str, library: Any) -> None:
        self.gpu = Gpu(uuid, library)
        self._nvml = library
        self._scope = "module" if any(name in self.gpu.name for name in MODULES) else "gpu"
        self._power_scope = self._find_power_scope()
        self._counter_reason: str | None = None
        self.source, self.method = self._find_method()

    def energy_j(self) -> float:
        return float(self.gpu.call("nvmlDeviceGetTotalEnergyConsumption")) / 1000

    def glance(self) -> Glance:
        power_w = None if self._power_scope is None else self._power_w(self._power_scope)
        return Glance(power_w, self.gpu.throttle())

    def facts(self) -> JsonObject:
        """`counter_reason` says why there is no counter."""
        return {
            "scope": self._scope if self.method == "counter" else self._power_scope,
            "power_scope": self._power_scope,
            "resolution_j": RESOLUTION_J if self.method == "counter" else None,
            "counter_reason": self._counter_reason,
            "gpu": {"name": self.gpu.name, "uuid": self.gpu.uuid},
        }

    def state(self, siblings: Sequence[int] = ()) -> JsonObject:
        return self.gpu.state(siblings)

    def _find_method(self) -> tuple[str, Method]:
        try:
            self.energy_j()
        except NoEnergy as missing:
            if self._power_scope is None:
                raise
            self._counter_reason = str(missing)
            return "nvml_integrated", "integrated"
        return "nvml_counter", "counter"

    def _find_power_scope(self) -> str | None:
        scopes = sorted(SCOPES, key=lambda scope: scope != self._scope)
        return next((scope for scope in scopes if self._power_w(scope) is not None), None)

    def _power_w(self, scope: str) -> float | None:
        fields = [(POWER_INSTANT_FIELD, SCOPES[scope])]
        found = self.gpu.optional("nvmlDeviceGetFieldValues", fields)
        if found is None or found[0].nvmlReturn != self._nvml.NVML_SUCCESS:
            return None
        return float(found[0].value.uiVal) / 1000

"""Examination of this machine for `qbench doctor`: hardware, counters, peak rates, versions, kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qbench.json_object import JsonObject
from qbench.measure.peak_rates import PeakRates, peak_rates
from qbench.probes.energy.measure.trials import sources
from qbench.run.listing import Rows, kernels
from qbench.run.provenance.environment import Gpu, environment, gpus, microarchitecture


@dataclass(frozen=True)
class Examination:
    """Findings on this machine."""

    environment: JsonObject
    """As a manifest holds it."""
    microarchitecture: str
    gpus: list[Gpu]
    gpu_reason: str | None
    """Reason that there is no GPU."""
    peak_rates: dict[str, PeakRates]
    energy: dict[str, dict[str, str]]
    """Device → source → its abilities, or why it cannot be read."""
    kernels: Rows

    def to_dict(self) -> JsonObject:
        cpu = {**self.environment["cpu"], "microarchitecture": self.microarchitecture}
        rates = {device: found.to_dict() for device, found in self.peak_rates.items()}
        found = {"gpu_reason": self.gpu_reason, "ceilings": rates, "energy": self.energy}
        return {**self.environment, "cpu": cpu, **found, "kernels": self.kernels}

    def lines(self) -> Iterator[tuple[str, str]]:
        """The same for a reader: a name and a sentence each."""
        found, cpu = self.environment, self.environment["cpu"]
        yield "qbench", f"{found['qbench']}{_git(found['git'])}, Python {found['python']}, {found['os']}"
        size = f"{cpu['cores']} cores, {found['memory_bytes'] / 2**30:.1f} GiB"
        yield "CPU", f"{cpu['model']} (features of {self.microarchitecture}), {size}"
        known = ("amx_int8", "amx_bf16", "avx512_vnni", "avx512_bf16", "avx_vnni", "avx512f", "avx2")
        flags = ", ".join(flag for flag in known if flag in cpu["flags"])
        yield "CPU features", flags or "none that a kernel asks for"
        for gpu in self.gpus:
            size = f"{gpu.memory_bytes / 2**30:.0f} GiB"
            yield gpu.device, f"{gpu.name}, {size}, driver {gpu.driver}, {gpu.uuid}"
        if not self.gpus:
            yield "GPUs", f"none ({self.gpu_reason})"
        for device, rates in self.peak_rates.items():
            yield f"ceilings {device}", _rates(rates)
        for device, energy in self.energy.items():
            yield f"energy {device}", "; ".join(f"{name}: {what}" for name, what in energy.items())
        yield "packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())
        variables = ", ".join(f"{name}={value}" for name, value in found["variables"].items())
        yield "variables", variables or "none set"
        for kernel in self.kernels:
            reason = kernel.get("reason")
            yield f"kernel {kernel['name']}", f"not here: {reason}" if reason else "available"


def examine() -> Examination:
    """Measures bandwidth and GEMM rates, about two seconds a device."""
    seen, reason = gpus()
    devices = ["cpu", *(gpu.device for gpu in seen)]
    return Examination(
        environment(), microarchitecture(), seen, reason, {device: peak_rates(device) for device in devices},
        {device: sources(device) for device in devices}, kernels(),
    )  # fmt: skip


def _git(state: JsonObject | None) -> str:
    if state is None:
        return ""
    return f" ({state['commit'][:10]}{', changed since' if state['dirty'] else ''})"


def _rates(found: PeakRates) -> str:
    products = ", ".join(
        f"{dtype} {rate / 1e9:.0f} GFLOP/s" if rate else f"{dtype} none ({found.reasons[dtype]})"
        for dtype, rate in found.gemm_flop_per_s.items()
    )
    read, copied = found.read_bytes_per_s / 1e9, found.copy_bytes_per_s / 1e9
    return f"read {read:.1f} GB/s, copy {copied:.1f} GB/s; product {products}"

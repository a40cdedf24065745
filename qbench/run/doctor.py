"""Examination of this machine for `qbench doctor`: hardware, counters, ceilings, versions, kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qbench.run.listing import kernels
from qbench.run.provenance.environment import environment, gpus, microarchitecture


def examine() -> dict[str, Any]:
    """Everything as JSON values. Measures bandwidth and GEMM rates, about two seconds a device."""
    from qbench.measure.peak_rates import ceilings
    from qbench.probes.energy.measure.trials import sources

    found = environment()
    found["cpu"]["microarchitecture"] = microarchitecture()
    found["gpu_reason"] = gpus()[1]
    devices = ["cpu", *(gpu["device"] for gpu in found["gpus"])]
    found["ceilings"] = {device: ceilings(device) for device in devices}
    found["energy"] = {device: sources(device) for device in devices}
    found["kernels"] = kernels()
    return found


def lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same for a reader: a name and a sentence each."""
    cpu = found["cpu"]
    yield "qbench", f"{found['qbench']}{_git(found['git'])}, Python {found['python']}, {found['os']}"
    size = f"{cpu['cores']} cores, {found['memory_bytes'] / 2**30:.1f} GiB"
    yield "CPU", f"{cpu['model']} (features of {cpu['microarchitecture']}), {size}"
    known = ("amx_int8", "amx_bf16", "avx512_vnni", "avx512_bf16", "avx_vnni", "avx512f", "avx2")
    yield (
        "CPU features",
        ", ".join(flag for flag in known if flag in cpu["flags"]) or "none that a kernel asks for",
    )
    for gpu in found["gpus"]:
        size = f"{gpu['memory_bytes'] / 2**30:.0f} GiB"
        yield gpu["device"], f"{gpu['name']}, {size}, driver {gpu['driver']}, {gpu['uuid']}"
    if not found["gpus"]:
        yield "GPUs", f"none ({found['gpu_reason']})"
    for device, ceiling in found["ceilings"].items():
        yield f"ceilings {device}", _ceiling(ceiling)
    for device, energy in found["energy"].items():
        yield f"energy {device}", "; ".join(f"{name}: {what}" for name, what in energy.items())
    yield "packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    yield (
        "variables",
        ", ".join(f"{name}={value}" for name, value in found["variables"].items()) or "none set",
    )
    for kernel in found["kernels"]:
        yield (
            f"kernel {kernel['name']}",
            "available" if not kernel.get("reason") else f"not here: {kernel['reason']}",
        )


def _git(state: dict[str, Any] | None) -> str:
    if state is None:
        return ""
    return f" ({state['commit'][:10]}{', changed since' if state['dirty'] else ''})"


def _ceiling(ceiling: dict[str, Any]) -> str:
    rates = ceiling["gemm_flop_per_s"]
    products = ", ".join(
        f"{dtype} {rate / 1e9:.0f} GFLOP/s" if rate else f"{dtype} none ({ceiling['reasons'][dtype]})"
        for dtype, rate in rates.items()
    )
    bandwidth = ", ".join(
        f"{what} {ceiling[f'{what}_bytes_per_s'] / 1e9:.1f} GB/s" for what in ("read", "copy")
    )
    return f"{bandwidth}; product {products}"

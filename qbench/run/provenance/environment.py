"""Provenance: machine and software, for the manifest and for `doctor`.

`fingerprint` is the part that must be equal for two runs to be compared, or for one to be resumed.
Nothing here imports torch or touches a device; GPUs are read through NVML.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import warnings
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import qbench
from qbench.json_object import JsonObject

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "lm-eval", "numpy", "pandas", "pyarrow", "pydantic",
    "gguf", "accelerate", "nvidia-ml-py", "triton",
)  # fmt: skip
_VARIABLES = re.compile(
    r"^(OMP_|MKL_|KMP_|GOMP_|OPENBLAS_|ONEDNN_|DNNL_|ATEN_|TORCH|PYTORCH_|CUDA_|NVIDIA_|HF_|TRANSFORMERS_|"
    r"QBENCH_(?!CACHE$)|MALLOC_|LD_PRELOAD$|TOKENIZERS_|PYTHONHASHSEED$|CUBLAS_)"
)
_SECRET = re.compile(r"TOKEN|SECRET|KEY|PASSWORD", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """A GPU that CUDA would see."""

    index: int
    """NVML's own."""
    name: str
    uuid: str
    memory_bytes: int
    driver: str
    device: str = ""
    """CUDA's name for it, such as `cuda:0`."""

    def is_called(self, wanted: str) -> bool:
        """True where an entry of CUDA_VISIBLE_DEVICES names it."""
        return wanted == str(self.index) or (wanted.startswith("GPU-") and self.uuid.startswith(wanted))


def utc_now() -> str:
    """This instant as records and manifests write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def environment() -> JsonObject:
    """Everything about this machine that can change a number or explain one, as JSON values."""
    return {
        "qbench": qbench.__version__,
        "git": git_state(),
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "libc": "-".join(platform.libc_ver()),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "cpu": cpu(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "gpus": [asdict(gpu) for gpu in gpus()[0]],
        "container": container(),
        "variables": {
            name: "(hidden)" if _SECRET.search(name) else value
            for name, value in sorted(os.environ.items())
            if _VARIABLES.match(name)
        },
        "load_average": os.getloadavg(),
    }


def fingerprint(environment: JsonObject) -> JsonObject:
    """The facts that two runs must share for their numbers to be comparable."""
    packages = environment["packages"]
    return {
        "qbench": environment["qbench"],
        "git": environment["git"],
        "python": environment["python"].rpartition(".")[0],
        **{name: packages.get(name) for name in ("torch", "transformers", "tokenizers")},
        "cpu": environment["cpu"]["model"],
        "cores": environment["cpu"]["cores"],
        "gpus": [f"{gpu['name']} ({gpu['driver']})" for gpu in environment["gpus"]],
    }


def differences(ours: JsonObject, theirs: JsonObject) -> list[str]:
    """One line for each fact of two fingerprints that is not the same."""
    return [
        f"{key}: {theirs.get(key)} then, {ours.get(key)} now"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]


def cpu() -> JsonObject:
    """Model, flags, usable cores, governor.

    `model` and, on x86, `flags` are the kernel's words in their order: stored runs are compared with them.
    """
    info: dict[str, str] = {}
    path = Path("/proc/cpuinfo")
    if path.exists():
        first = path.read_text().split("\n\n")[0]
        info = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in first.splitlines())
        }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "model": info.get("model name") or platform.processor() or platform.machine(),
        "family": " ".join(info[key] for key in ("cpu family", "model", "stepping") if key in info) or None,
        "flags": info.get("flags", "").split() or sorted(_features()),
        "cores": cores,
        "governor": _governor(),
    }


def microarchitecture() -> str:
    """The newest microarchitecture whose features this processor has all, such as `zen4`, `neoverse_v2`."""
    import archspec.cpu

    return str(archspec.cpu.host())


def _features() -> set[str]:
    """Features of a processor whose flags Linux names otherwise (Arm), or of another system's."""
    import archspec.cpu

    with warnings.catch_warnings(action="ignore"):
        return set(archspec.cpu.detect.detected_info().features)


def _governor() -> str | None:
    """Linux's policy for the first core's clock, such as `performance`; None where there is none."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip() or None
    except OSError:
        return None


def gpus() -> tuple[list[Gpu], str | None]:
    """GPUs visible to CUDA, in its order, and the reason where there are none.

    CUDA_VISIBLE_DEVICES is honoured; the worker runs with CUDA_DEVICE_ORDER=PCI_BUS_ID, NVML's own order.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"NVML: {error}"
    try:
        found = [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found = [gpu for wanted in visible.split(",") for gpu in found if gpu.is_called(wanted.strip())]
    named = [replace(gpu, device=f"cuda:{index}") for index, gpu in enumerate(found)]
    return named, None if named else "NVML answers, but no GPU is visible"


def git_state() -> JsonObject | None:
    """Commit and, where the tree is dirty, a hash of its difference; None outside a checkout of qbench."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        change = _git(root, "diff", "HEAD", "--", "qbench", "methods")
        new = _git(root, "ls-files", "--others", "--exclude-standard", "--", "qbench", "methods")
    except (OSError, subprocess.CalledProcessError):
        return None
    dirty = hashlib.sha256((change + new).encode()).hexdigest()[:12] if change or new else None
    return {"commit": commit, "dirty": dirty}


def container() -> str | None:
    """`docker`, `podman`, `kubernetes` where this process runs in one, else None."""
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
    memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    return Gpu(index, name, uuid, memory, _text(nvml.nvmlSystemGetDriverVersion()))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def oom_kills() -> int | None:
    """Number of processes that the kernel has killed for memory since it booted (Linux), or None."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)

"""Which library there is, and what an old one lacks: through the loader, with no other library in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbench.probes.energy.measure.meter import NoEnergy
from qbench.probes.energy.measure.nvml import NvmlMeter
from tests.probes.energy.nvml.library import build, simulated


@pytest.mark.parametrize(
    ("missing", "source", "watts"),
    [("-DWITHOUT_ENERGY", "nvml_integrated", 60.0), ("-DWITHOUT_FIELDS", "nvml_counter", None)],
)
def test_a_driver_that_lacks_a_function(missing: str, source: str, watts: float | None) -> None:
    with simulated(missing) as nvml:
        nvml.add_gpu()
        meter = NvmlMeter("GPU-0", nvml.pynvml)
        assert (meter.source, meter.glance().power_w) == (source, watts)


def test_a_driver_that_lacks_both() -> None:
    with simulated("-DWITHOUT_ENERGY", "-DWITHOUT_FIELDS") as nvml:
        nvml.add_gpu()
        with pytest.raises(NoEnergy, match="TotalEnergyConsumption: Function Not Found"):
            NvmlMeter("GPU-0", nvml.pynvml)


ELSEWHERE = """
import json, pynvml
from qbench.probes.energy.measure.meter import Clock, NoEnergy
from qbench.measure.nvml_binding import bindings
from qbench.probes.energy.measure.nvml import NvmlMeter
from qbench.run.provenance.environment import gpus
found, why = gpus()
try:
    uuids = [gpu.uuid for gpu in found] or ["GPU-0"]
    watts = [NvmlMeter(uuid, bindings()).glance().power_w for uuid in uuids]
except NoEnergy as missing:
    watts = missing.reason
print(json.dumps({"gpus": [[gpu.device, gpu.uuid] for gpu in found], "why": why, "watts": watts}))
"""


def elsewhere(**variables: str) -> dict[str, object]:
    """In a process of its own, where the loader alone decides which library there is."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "LD_LIBRARY"))}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        env={**kept, **variables},
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_ordinary_loader_finds_the_library_and_cuda_order_is_kept() -> None:
    path = str(build())
    swapped = "GPU-0000aaaa-1,GPU-ffff0000-0"
    found = elsewhere(LD_LIBRARY_PATH=path, SIMULATED_NVML="1", CUDA_VISIBLE_DEVICES=swapped)
    assert found["gpus"] == [["cuda:0", "GPU-0000aaaa-1"], ["cuda:1", "GPU-ffff0000-0"]]
    assert found["watts"] == [70, 60]


def test_a_file_that_is_no_library_is_no_driver(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    found = elsewhere(LD_LIBRARY_PATH=str(tmp_path))
    assert (found["gpus"], found["watts"]) == ([], "no_driver")
    assert "Library Not Found" in str(found["why"])

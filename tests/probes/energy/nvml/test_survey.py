"""The survey of a GPU: dry on the simulated one, whose answers are known, and on a real one."""

from __future__ import annotations

import pytest
import torch

from tests.probes.energy.nvml.survey import LOADS, cuda_device, row, simulated_device, survey


def test_the_survey_finds_what_the_simulated_gpu_is() -> None:
    with simulated_device() as device:
        found = row(device, "steady", 5.0, 3)
        assert found["work_w"] == pytest.approx(300, rel=1e-3)
        assert abs(found["instant_pct"]) < 1
        assert found["usage_pct"] < -3  # a one-second average lags behind
        assert abs(found["unaligned_pct"]) < 100 * 2 * 0.1 / 5
        lines = list(survey(device, list(LOADS), [1.0], 2))
    assert lines[0].startswith("counter of the gpu")
    assert len(lines) == 3 + 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_counter_agrees_with_instant_power_on_a_gpu() -> None:
    with cuda_device() as device:
        found = row(device, "steady", 5.0, 3)
    assert abs(found["instant_pct"]) < 2
    assert found["bound_pct"] < 5

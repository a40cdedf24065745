"""The simulated NVML, in this process for one test module at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.probes.energy.nvml.library import SimulatedNvml, simulated


@pytest.fixture(scope="module")
def library() -> Iterator[SimulatedNvml]:
    with simulated() as nvml:
        yield nvml


@pytest.fixture
def nvml(library: SimulatedNvml) -> SimulatedNvml:
    """As if just booted: no GPUs, no failures."""
    library.reset()
    return library

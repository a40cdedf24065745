"""Differences of machine and software that refuse a comparison."""

from __future__ import annotations

import pytest

from qbench.results.compare.comparable import compared, refusal

HERE = {
    "qbench": "0.1.0",
    "git.commit": "aa",
    "python": "3.11.7",
    "os": "Linux 6.1",
    "packages.torch": "2.13.0",
    "packages.pandas": "3.1.1",
    "cpu.model": "AMD EPYC 9B45",
    "cpu.flags": "fpu avx2 avx512_vnni",
    "cpu.cores": "2",
    "cpu.governor": "performance",
    "threads": "2",
    "gpus.0.name": "NVIDIA H100",
    "gpus.0.driver": "570.1",
    "variables.OMP_NUM_THREADS": "2",
    "variables.QBENCH_CACHE": "/a",
}


@pytest.mark.parametrize(
    ("key", "value", "exact", "timed"),
    [
        ("packages.torch", "2.14.0", True, True),
        ("packages.pandas", "3.2", False, True),
        ("threads", "4", True, True),
        ("cpu.flags", "fpu avx2", True, True),
        ("cpu.flags", "vme fpu avx512_vnni avx2", False, True),
        ("cpu.model", "Intel Xeon", True, True),
        ("cpu.model", "AMD EPYC 7B13", False, True),
        ("cpu.governor", "powersave", False, True),
        ("os", "Linux 6.2", False, True),
        ("variables.OMP_NUM_THREADS", "1", True, True),
        ("qbench", "0.2.0", False, False),
        ("git.commit", "bb", False, False),
        ("variables.QBENCH_CACHE", "/b", False, False),
    ],
)
def test_what_must_be_equal(key: str, value: str, exact: bool, timed: bool) -> None:
    there = {**HERE, key: value}
    assert bool(compared(HERE, there, timed=False, gpu=False)[0]) is exact
    assert bool(compared(HERE, there, timed=True, gpu=False)[0]) is timed


def test_a_gpu_counts_where_a_cell_runs_on_one() -> None:
    there = {**HERE, "gpus.0.driver": "580.2"}
    assert compared(HERE, there, timed=False, gpu=False) == ([], [])
    (line,) = compared(HERE, there, timed=False, gpu=True)[0]
    assert line == "gpus.0.driver: A: 570.1; B: 580.2"


def test_what_is_accepted_is_named_and_the_rest_refused() -> None:
    there = {**HERE, "packages.torch": "2.14.0", "threads": "4", "cpu.flags": "fpu"}
    left, taken = compared(HERE, there, timed=False, gpu=False, accept=["packages", "cpu.flags"])
    assert [line.split(":")[0] for line in left] == ["threads"]
    assert [line.split(":")[0] for line in taken] == ["cpu.flags", "packages.torch"]
    said = refusal(left)
    assert said is not None
    assert "threads: A: 2; B: 4" in said
    assert said.endswith("--accept-environment threads")
    assert refusal([]) is None
    assert compared(HERE, there, timed=False, gpu=False, accept=["pack"])[1] == []

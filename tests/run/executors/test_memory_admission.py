"""Whether one more worker fits: the machine, cgroups of both versions, a GPU's free memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qbench.measure.process import Needs, Peak
from qbench.run.executors import memory_admission as room

GIB = 1 << 30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 10 GiB available and no cgroup limits, as files."""
    for name, file in (("MEMINFO", "meminfo"), ("CGROUP", "cgroup"), ("OWN_CGROUP", "own")):
        monkeypatch.setattr(room, name, tmp_path / file)
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:  {10 * GIB // 1024} kB\n")
    (tmp_path / "own").write_text("0::/box/inner\n")
    return tmp_path


def _limit(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_a_worker_fits_where_its_peak_with_a_margin_is_free(system: Path) -> None:
    most = int((10 * GIB - room.HOST_SPARE) / (1 + room.MARGIN))
    assert room.lacking([{"host": most - 8192}]) is None
    why = room.lacking([{"host": 5}, {"host": most + 8192}])
    assert why == "it may take 10240 MiB, and 10240 MiB are free"


def test_what_nobody_knows_counts_as_room(system: Path) -> None:
    assert room.lacking([]) is None
    assert room.lacking([{}, {"host": None}]) is None
    (system / "meminfo").unlink()
    assert room.available_bytes() is None
    assert room.lacking([{"host": 1 << 60}]) is None


def test_a_cgroup_above_this_one_limits_too_and_droppable_cache_is_free(system: Path) -> None:
    _limit(system / "cgroup/box/inner", memory__max="max", memory__current=GIB)
    assert room.available_bytes() == 10 * GIB
    stat = f"anon 5\ninactive_file {GIB}"
    _limit(system / "cgroup/box", memory__max=4 * GIB, memory__current=3 * GIB, memory__stat=stat)
    assert room.available_bytes() == 2 * GIB


def test_the_first_version_of_cgroups_is_read(system: Path) -> None:
    (system / "own").write_text("4:cpu,memory:/box\n0::/\n")
    names = {"memory__limit_in_bytes": 3 * GIB, "memory__usage_in_bytes": GIB}
    _limit(system / "cgroup/memory/box", **names)
    assert room.available_bytes() == 2 * GIB


def test_a_gpu_has_room_by_the_workers_own_word(system: Path) -> None:
    need = {"host": GIB, "device": 4 * GIB, "device_free": 6 * GIB}
    assert room.lacking([need]) is None
    why = room.lacking([need, {"host": GIB, "device": GIB, "device_free": 5 * GIB}])
    assert why == "it may take 6144 MiB of the GPU, and 5120 MiB are free"


def test_a_worker_knows_its_peak_although_marks_are_set_back() -> None:
    needs = Needs(torch.device("cpu"))
    block = torch.ones(300 << 20, dtype=torch.uint8)
    needs.note()
    del block
    with Peak("cpu"):
        pass
    needs.note()
    assert (needs.bytes()["host"] or 0) > 300 << 20

"""Planning: pinned weights, hashed texts, devices that are here or not, overlaps that are not allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qbench.errors import SuiteError
from qbench.models.corpora import read_corpus
from qbench.run.planning.devices import Devices
from qbench.run.planning.plan import Planned, Planner
from qbench.run.provenance.environment import Gpu
from tests.run.conftest import suite

H100 = Gpu(0, "NVIDIA H100 80GB HBM3", "GPU-0", 80 << 30, "575", "cuda:0")
H200 = Gpu(1, "NVIDIA H200", "GPU-1", 141 << 30, "575", "cuda:1")
TWO = Devices([H100, H200], None)
NONE = Devices([], "NVML: no driver")


def _plan(
    tmp_path: Path, here: Devices = NONE, done: frozenset[str] = frozenset(), **changes: Any
) -> list[Planned]:
    methods = changes.pop("methods", [{"name": "none"}])
    return Planner(suite(methods, tmp_path, **changes), here).plan(done=done)


@pytest.mark.parametrize(
    ("written", "found"),
    [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("H200", "cuda:1"), ("h100", "cuda:0")],
)
def test_devices_are_found_by_index_and_by_name(written: str, found: str) -> None:
    assert TWO.find(written) == (found, None)


@pytest.mark.parametrize(
    ("devices", "written"), [(TWO, "cuda:2"), (TWO, "A100"), (NONE, "cuda"), (NONE, "H100")]
)
def test_a_missing_device_says_what_is_there(devices: Devices, written: str) -> None:
    device, reason = devices.find(written)
    assert device == written
    assert written in (reason or "")
    assert ("NVIDIA H100" in (reason or "")) == (devices is TWO)


def test_done_cells_are_not_planned_again(tmp_path: Path) -> None:
    first = _plan(tmp_path, methods=[{"name": "absmax", "num_bits": [8, 4]}])
    again = _plan(
        tmp_path, done=frozenset([first[0].cell.id]), methods=[{"name": "absmax", "num_bits": [8, 4]}]
    )
    assert [plan.state for plan in again] == ["done", "run"]


def test_an_id_changes_with_what_changes_a_number_and_with_nothing_else(tmp_path: Path) -> None:
    (plain,) = _plan(tmp_path)
    same = [
        _plan(tmp_path, methods=[{"name": "none", "label": "another"}]),
        _plan(tmp_path, timeout_s=5),
        _plan(tmp_path, memory_limit="9GiB"),
        _plan(tmp_path, models=[{"source": "builtin:austen-6m", "name": "renamed"}]),
    ]
    assert {plan.cell.id for (plan,) in same} == {plain.cell.id}
    other = [
        _plan(tmp_path, seed=1),
        _plan(tmp_path, quality={"seqlen": 64, "max_windows": 3}),
        _plan(
            tmp_path,
            quality={"seqlen": 64, "max_windows": 2, "corpus": "builtin:calibration"},
            calibration=False,
        ),
        _plan(tmp_path, models=[{"source": "builtin:austen-6m", "dtypes": ["fp32"]}]),
        _plan(tmp_path, models=[{"source": "builtin:austen-6m", "weights": "random"}]),
        _plan(tmp_path, latency={"repetitions": 2}),
        _plan(tmp_path, threads=2),
        _plan(tmp_path, devices=["cuda"]),
        _plan(tmp_path, methods=[{"name": "absmax"}]),
    ]
    ids = [plan.cell.id for (plan,) in other]
    assert len({plain.cell.id, *ids}) == 1 + len(other)


def test_the_same_text_in_another_file_is_the_same_cell(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(read_corpus("builtin:persuasion"))
    texts = ("builtin:persuasion", "a.txt", "b.txt")
    plans = [_plan(tmp_path, quality={"seqlen": 64, "max_windows": 2, "corpus": text}) for text in texts]
    assert len({plan.cell.id for (plan,) in plans}) == 1


def test_calibration_that_overlaps_the_evaluation_is_an_error(tmp_path: Path) -> None:
    text = read_corpus("builtin:persuasion")
    (tmp_path / "leak.txt").write_text(read_corpus("builtin:calibration")[:5000] + text[100_000:101_000])
    with pytest.raises(SuiteError, match=r"tiny\.yaml:\d+:\d+: calibration\.corpus.*overlaps the evaluation"):
        _plan(tmp_path, calibration={"corpus": "leak.txt"})
    assert _plan(tmp_path, calibration={"corpus": "builtin:calibration"})


def test_a_corpus_that_is_not_there_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"tiny\.yaml:\d+:\d+: quality\.corpus = \"gone\.txt\""):
        _plan(tmp_path, quality={"corpus": "gone.txt"})


def test_layers_and_parameters_reach_the_cell(tmp_path: Path) -> None:
    layers = {"exclude": ["*.down_proj"], "overrides": [{"pattern": "*.q_proj", "num_bits": 8}]}
    (plan,) = _plan(tmp_path, methods=[{"name": "absmax", "num_bits": 4}], layers=layers)
    assert plan.cell.layers["exclude"] == ["*.down_proj"]
    assert plan.cell.layers["overrides"][0]["num_bits"] == 8
    assert plan.cell.params["strategy"] == "channel", "a default is missing from the cell"


@pytest.mark.parametrize(
    ("methods", "overrides", "asked"),
    [
        ([{"name": "gptq"}], [], True),
        ([{"name": "absmax"}], [{"pattern": "*.down_proj", "method": "gptq"}], True),
        ([{"name": "absmax"}], [{"pattern": "*.down_proj", "method": "zeropoint"}], False),
        ([{"name": "none"}], [{"pattern": "*.down_proj", "method": "gptq"}], False),
    ],
)
def test_a_calibration_text_enters_the_cell_where_a_layer_needs_it(
    tmp_path: Path, methods: list[dict[str, Any]], overrides: list[dict[str, Any]], asked: bool
) -> None:
    (plan,) = _plan(tmp_path, methods=methods, layers={"overrides": overrides})
    assert ("calibration" in plan.cell.sections) == asked
    if asked:
        with pytest.raises(
            SuiteError, match=r"calibration.* is switched off, and '(gptq|absmax).*' reads it"
        ):
            _plan(tmp_path, methods=methods, layers={"overrides": overrides}, calibration=False)

"""Layers by themselves: every case is there, timed in turns, on the kernel that it names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from qbench.cli.app import app
from qbench.errors import KernelError, MethodError, SuiteError
from qbench.measure import interleaved, kernel_bench
from qbench.measure.kernel_bench import Order, bench, model_shapes
from qbench.measure.peak_rates import PeakRates

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(interleaved, "MOST_COPIES", 3)
    found = PeakRates(50e9, 25e9, {"bf16": 6e11, "int8": None}, 1, {"int8": "not here"})
    monkeypatch.setattr(kernel_bench, "peak_rates", lambda device: found)
    yield
    torch.set_num_threads(threads)


def test_turns_are_interleaved_and_rotate_the_copies() -> None:
    seen: list[tuple[str, int]] = []
    runners = {name: lambda turn, name=name: seen.append((name, turn)) for name in "abc"}
    times = interleaved.samples(runners, 50, 7, CPU, warm=0)
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys("abc", 50)
    rounds = [seen[start : start + 3] for start in range(0, 150, 3)]
    assert all({turn for _, turn in entry} == {number} for number, entry in enumerate(rounds))
    firsts = Counter(entry[0][0] for entry in rounds)
    assert set(firsts) == set("abc")
    assert max(firsts.values()) < 35


def test_enough_copies_to_leave_the_cache_and_never_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleaved, "last_cache_bytes", lambda device: 1000)
    monkeypatch.setattr(interleaved, "MOST_COPIES", 50)
    for size in (60, 100, 700, 5000):
        assert interleaved.copies_for(size, CPU) * size >= 2000 or interleaved.copies_for(size, CPU) == 50
    assert interleaved.copies_for(10**6, CPU) == 2
    assert interleaved.copies_for(1, CPU) == 50


def test_every_kernel_that_can_run_stands_beside_f_linear() -> None:
    order = Order([(64, 96)], [1, 5], {"q": ("absmax", {})}, kernels=["all"], turns=2)
    found = bench(order)
    by_rows = {rows: [case for case in found["cases"] if case["rows"] == rows] for rows in (1, 5)}
    for cases in by_rows.values():
        assert cases[0]["method"] == "F.linear"
        kernels = [case["kernel"] for case in cases[1:]]
        assert kernels[0] == "auto"
        assert {"dequant_gemm", "channel_dequant_gemm"} <= set(kernels)
        assert all(case["ran"] == case["kernel"] for case in cases[2:])
        assert all(len(case["samples"]) == 2 and min(case["samples"]) > 0 for case in cases)
    assert cases[0]["weight_bytes"] == 64 * 96 * 2
    assert cases[1]["weight_bytes"] == pytest.approx(64 * 96 * (8 + 32 / 96) / 8, rel=0.03)


def test_a_kernel_that_cannot_run_a_layer_is_told_and_the_rest_goes_on() -> None:
    order = Order([(64, 96)], [1], {"q": ("int4", {"group_size": 32})}, kernels=["int8_pack"], turns=1)
    found = bench(order)
    assert [case["method"] for case in found["cases"]] == ["F.linear"]
    assert "int8_pack cannot run it" in found["skipped"][0]["reason"]


@pytest.mark.parametrize(("name", "message"), [("none", "quantizes nothing"), ("gptq", "calibration text")])
def test_methods_that_need_more_than_a_weight_are_refused(name: str, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        bench(Order([(64, 96)], [1], {"q": (name, {})}))


def test_a_models_shapes_are_those_of_its_layers_without_the_tied_head() -> None:
    assert model_shapes("builtin:austen-6m") == [(256, 768), (768, 256), (256, 256), (128, 256)]


def test_the_command_prints_a_table_and_writes_every_sample(tmp_path: Path) -> None:
    file = tmp_path / "k.json"
    words = "bench-kernels --shape 64x96 --rows 1 --method int4:group_size=32 --turns 6 --threads 1 --json"
    done = CliRunner().invoke(app, [*words.split(), str(file)])
    assert done.exit_code == 0, done.output
    assert "64×96" in done.output
    found = json.loads(file.read_text())
    assert [len(case["samples"]) for case in found["cases"]] == [6, 6]
    assert found["table"][1]["method"] == "int4:group_size=32"
    assert (
        found["table"][1]["speedup_low"] <= found["table"][1]["speedup"] <= found["table"][1]["speedup_high"]
    )


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("", SuiteError, "nothing to time"),
        ("--shape 64", SuiteError, "is not NxK"),
        ("--shape 64x64 --dtype int8", SuiteError, "choose from"),
        ("--shape 64x64 --kernel magic", KernelError, "no kernel 'magic'"),
        ("--shape 64x64 --method int4:group_size", SuiteError, "is not KEY=VALUE"),
    ],
)
def test_what_is_wrong_with_an_order_is_said(words: str, error: type[Exception], message: str) -> None:
    done = CliRunner().invoke(app, ["bench-kernels", *words.split()])
    assert isinstance(done.exception, error)
    assert message in str(done.exception)

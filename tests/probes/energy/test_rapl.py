"""RAPL on a powercap tree of our own: packages, wraps, permissions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from qbench.probes.energy.measure.meter import Clock, NoEnergy
from qbench.probes.energy.measure.rapl import RaplMeter
from qbench.probes.energy.measure.ticks import calibrate, period_s
from qbench.probes.energy.measure.window import Look, Window

RANGE_UJ = 262_143_328_850


class HandClock(Clock):
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep_s(self, seconds: float) -> None:
        self.time_s += seconds


def package(
    root: Path, number: int, energy_uj: int = 0, range_uj: int = RANGE_UJ, name: str | None = None
) -> Path:
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name or f'package-{number}'}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


def test_packages_are_added_and_all_else_is_left_out(tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 9_000_000), package(tmp_path, 1, 1_000_000)
    psys = package(tmp_path, 2, name="psys")
    for number, inside in enumerate(("core", "dram")):
        folder = tmp_path / f"intel-rapl:0:{number}"
        folder.mkdir()
        (folder / "name").write_text(inside)
    meter = RaplMeter(tmp_path)
    assert meter.energy_j() == 0
    (first / "energy_uj").write_text("9500000")
    (second / "energy_uj").write_text("3000000")
    (psys / "energy_uj").write_text("7000000")
    assert meter.energy_j() == pytest.approx(0.5 + 2.0)
    assert meter.facts()["packages"] == 2


def test_every_wrap_is_counted_by_the_read_after_it(tmp_path: Path) -> None:
    """300 W for an hour wrap a counter of 262 kJ four times; a read a minute loses none."""
    clock, folder = HandClock(), package(tmp_path, 0, RANGE_UJ - 5_000_000)
    meter, drawn_uj = RaplMeter(tmp_path, clock), RANGE_UJ - 5_000_000
    for _ in range(60):
        clock.sleep_s(60)
        drawn_uj += 60 * 300_000_000
        (folder / "energy_uj").write_text(str(drawn_uj % RANGE_UJ))
        energy_j = meter.energy_j()
    assert energy_j == pytest.approx(300 * 3600)


def test_reads_too_far_apart_to_see_every_wrap_are_refused(tmp_path: Path) -> None:
    clock = HandClock()
    package(tmp_path, 0)
    meter = RaplMeter(tmp_path, clock)
    assert meter.longest_gap_s == pytest.approx(524, abs=1)
    clock.sleep_s(520)
    meter.energy_j()
    clock.sleep_s(530)
    with pytest.raises(NoEnergy, match="530 s between two reads") as caught:
        meter.energy_j()
    assert caught.value.reason == "window_too_long"


class Burning(HandClock):
    """A package that draws 200 W whenever time passes."""

    def __init__(self, folder: Path, range_uj: int) -> None:
        super().__init__()
        self._file, self._range_uj = folder / "energy_uj", range_uj

    def sleep_s(self, seconds: float) -> None:
        super().sleep_s(seconds)
        self._file.write_text(str(round(self.time_s * 200e6) % self._range_uj))


def test_a_window_looks_often_enough_to_follow_wraps(tmp_path: Path) -> None:
    """The counter wraps every 50 s; a window of 300 s reads it in between."""
    range_uj = 10_000_000_000
    clock = Burning(package(tmp_path, 0, range_uj=range_uj), range_uj)
    meter = RaplMeter(tmp_path, clock)
    assert period_s(calibrate(meter, clock)) == pytest.approx(0.001, rel=0.01)

    def work(look: Look) -> None:
        for _ in range(300):
            clock.sleep_s(1.0)
            look()

    window: dict[str, Any] = Window(meter, clock, length_s=300).run(work, 1)
    assert window["gross_j"] == pytest.approx(200 * window["window_s"], rel=1e-4)
    assert window["window_s"] == pytest.approx(300, rel=1e-3)
    assert window["power_w"] == []


def test_no_package_and_no_number_have_their_reasons(tmp_path: Path) -> None:
    with pytest.raises(NoEnergy) as caught:
        RaplMeter(tmp_path)
    assert caught.value.reason == "no_driver"
    (package(tmp_path, 0) / "energy_uj").write_text("?")
    with pytest.raises(NoEnergy) as caught:
        RaplMeter(tmp_path)
    assert caught.value.reason == "not_supported"


def test_a_counter_of_root_alone_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path, 0)
    (folder / "energy_uj").chmod(0)
    if os.geteuid() == 0:  # root reads every file: let the read itself refuse
        real = Path.read_text

        def refuse(self: Path, *args: Any, **kwargs: Any) -> str:
            if self.name == "energy_uj":
                raise PermissionError(13, "Permission denied")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NoEnergy) as caught:
        RaplMeter(tmp_path)
    assert caught.value.reason == "no_permission"

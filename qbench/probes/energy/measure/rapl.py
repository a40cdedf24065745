"""A CPU's energy counters, through /sys/class/powercap (Intel RAPL; AMD speaks it too).

Only whole packages are added up (`intel-rapl:N`): cores and graphics are contained in them, `psys` contains
them, and memory (`dram`, where it is counted) is not in them and is left out. The counters are microjoules
that wrap at `max_energy_range_uj`. A wrap is seen by the next read; of two between reads one would be lost,
so that reads further apart than a package at `MOST_W` needs to wrap once are refused. Since 2020 only root
may read them on most systems. Scope: everything that runs on the packages, other processes included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from qbench.json_object import JsonObject
from qbench.probes.energy.measure.meter import Clock, Glance, Method, NoEnergy

POWERCAP = Path("/sys/class/powercap")
MOST_W = 500.0
"""No CPU package draws more for long; a counter of 65 kJ wraps after 131 s then, one of 262 kJ after 524."""
RESOLUTION_J = 2.0**-14
"""The counters' usual unit."""


class RaplMeter:
    """The sum of all CPU packages. Raises NoEnergy with the reason where none can be read."""

    source = "rapl"
    method: Method = "counter"

    def __init__(self, root: Path = POWERCAP, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._packages = _packages(root)
        if not self._packages:
            raise NoEnergy("no_driver", f"{root} has no CPU package; this kernel or machine has no RAPL")
        self._range_uj = {package: _read_uj(package / "max_energy_range_uj") for package in self._packages}
        self.longest_gap_s = min(self._range_uj.values()) / 1e6 / MOST_W
        """Reads must not be further apart."""
        self._last_s = self._clock.now_s()
        self._last_uj = {package: _read_uj(package / "energy_uj") for package in self._packages}
        self._total_uj = 0

    def energy_j(self) -> float:
        """Joules since this meter was made. NoEnergy where a wrap may be lost since the last read."""
        gap_s = self._clock.now_s() - self._last_s
        if gap_s > self.longest_gap_s:
            raise NoEnergy(
                "window_too_long",
                f"{gap_s:.0f} s between two reads; from {self.longest_gap_s:.0f} s on, at {MOST_W:.0f} W, a "
                "wrap of the counter could be lost: shorten the prompt or the generated tokens",
            )
        for package in self._packages:
            now_uj = _read_uj(package / "energy_uj")
            step_uj = now_uj - self._last_uj[package]
            self._total_uj += step_uj if step_uj >= 0 else step_uj + self._range_uj[package]
            self._last_uj[package] = now_uj
        self._last_s = self._clock.now_s()
        return self._total_uj / 1e6

    def glance(self) -> Glance:
        """RAPL has no second, independent sensor; the counters are read so that no wrap goes unseen."""
        self.energy_j()
        return Glance(None, None)

    def facts(self) -> JsonObject:
        return {
            "scope": "package",
            "resolution_j": RESOLUTION_J,
            "longest_gap_s": self.longest_gap_s,
            "packages": len(self._packages),
        }

    def state(self, siblings: Sequence[int] = ()) -> JsonObject:
        """RAPL says nothing of temperature, limits or processes."""
        return {}


def _packages(root: Path) -> list[Path]:
    found = [path for path in sorted(root.glob("intel-rapl:*")) if re.fullmatch(r"intel-rapl:\d+", path.name)]
    return [path for path in found if (path / "name").read_text().startswith("package")]


def _read_uj(path: Path) -> int:
    try:
        return int(path.read_text())
    except PermissionError as error:
        raise NoEnergy("no_permission", f"{path} is not readable by this user") from error
    except (OSError, ValueError) as error:
        raise NoEnergy("not_supported", f"{path}: {error}") from error

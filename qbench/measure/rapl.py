"""A CPU's energy counters, through /sys/class/powercap (Intel RAPL; AMD speaks it too).

Only whole packages are added up (`intel-rapl:N`): their subdomains are contained in them, and `psys` contains
them. The counters are microjoules that wrap at `max_energy_range_uj`. Since 2020 only root may read them on
most systems. Scope: everything that runs on the packages, other processes included.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qbench.measure.meter import NoEnergy

POWERCAP = Path("/sys/class/powercap")


class RaplMeter:
    """The sum of all CPU packages. Raises NoEnergy with the reason where none can be read."""

    source = "rapl"

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = _packages(root)
        if not self._packages:
            raise NoEnergy("no_driver", f"{root} has no CPU package; this kernel or machine has no RAPL")
        self._range_uj = {package: _read_uj(package / "max_energy_range_uj") for package in self._packages}
        self._last_uj = {package: _read_uj(package / "energy_uj") for package in self._packages}
        self._total_uj = 0

    def energy_j(self) -> float:
        """Joules since this meter was made. Read at least once per wrap (minutes at full power)."""
        for package in self._packages:
            now_uj = _read_uj(package / "energy_uj")
            step_uj = now_uj - self._last_uj[package]
            self._total_uj += step_uj if step_uj >= 0 else step_uj + self._range_uj[package]
            self._last_uj[package] = now_uj
        return self._total_uj / 1e6

    def power_w(self) -> float | None:
        """RAPL has no second, independent sensor."""
        return None

    def state(self) -> dict[str, Any]:
        return {"packages": len(self._packages)}


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

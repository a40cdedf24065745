"""Finding probes: folders of `qbench/probes/` that declare `PROBE`, and the entry points `qbench.probes`."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import Any

from qbench.probes.probe import Probe

GROUP = "qbench.probes"


@functools.cache
def probes() -> dict[str, Probe]:
    """Every probe by name, in the order in which they run."""
    import qbench.probes

    names = [one.name for one in pkgutil.iter_modules(qbench.probes.__path__) if one.ispkg]
    modules: list[Any] = [importlib.import_module(f"qbench.probes.{name}") for name in names]
    found: list[Probe] = [module.PROBE for module in modules]
    found += [point.load() for point in entry_points(group=GROUP)]
    return {probe.name: probe for probe in sorted(found, key=lambda probe: probe.order)}

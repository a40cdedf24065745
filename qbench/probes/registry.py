"""Finding probes: folders of `qbench/probes/` that declare `PROBE`, and the entry points `qbench.probes`.

An entry point is named as its section of a suite and gives the `Probe`. One that cannot be loaded is no error
until a suite names its section.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from qbench.errors import QbenchError
from qbench.probes.probe import Probe

GROUP = "qbench.probes"
_TAKEN = {"phases", "layers", "model"}
"""Sources of metrics that are no probes."""


@dataclass(frozen=True)
class Broken:
    """A plugin that gives no probe."""

    name: str
    """Name of its entry point."""
    source: str
    reason: str


@dataclass(frozen=True)
class Found:
    """Everything that was found, once for a process."""

    probes: dict[str, Probe]
    sources: dict[str, str]
    """Probe → `built-in`, or its distribution."""
    broken: dict[str, Broken]


def probes() -> dict[str, Probe]:
    """Every probe by name, in the order in which they run."""
    return found().probes


def broken() -> dict[str, Broken]:
    """Plugins that give no probe, by the name of their entry point."""
    return found().broken


@functools.cache
def found() -> Found:
    """Built-in probes and plugins; QbenchError where two have one name or one section."""
    known = [("built-in", probe) for probe in _built_in()]
    failed = {}
    for point in entry_points(group=GROUP):
        source = point.dist.name if point.dist else point.value
        loaded = _loaded(point)
        if isinstance(loaded, Probe):
            known.append((source, loaded))
        else:
            failed[point.name] = Broken(point.name, source, loaded)
    known.sort(key=lambda pair: pair[1].order)
    _check_unique(known)
    return Found(
        {probe.name: probe for _, probe in known}, {probe.name: source for source, probe in known}, failed
    )


def _built_in() -> Iterator[Probe]:
    import qbench.probes

    for one in pkgutil.iter_modules(qbench.probes.__path__):
        if one.ispkg:
            module: Any = importlib.import_module(f"qbench.probes.{one.name}")
            yield module.PROBE


def _loaded(point: EntryPoint) -> Probe | str:
    """The plugin's probe, or why there is none."""
    try:
        probe = point.load()
    except Exception as error:  # whatever the plugin's code raises
        return f"{point.value} does not load: {type(error).__name__}: {error}"
    if not isinstance(probe, Probe):
        return f"{point.value} is no qbench.probes.probe.Probe, but a {type(probe).__name__}"
    if probe.section != point.name:
        return f"its section is {probe.section!r} and its entry point {point.name!r}; give both one name"
    if probe.default is not None:
        return "it has a default, which would change the ids of all cells; leave default out"
    return probe


def _check_unique(known: list[tuple[str, Probe]]) -> None:
    names = dict.fromkeys(_TAKEN, "qbench itself")
    sections: dict[str, str] = {}
    for source, probe in known:
        for what, seen, key in (("name", names, probe.name), ("section", sections, probe.section)):
            if key in seen:
                raise QbenchError(
                    f"two probes have the {what} {key!r}: {seen[key]} and {probe.entry} ({source}); "
                    "rename or uninstall one"
                )
            seen[key] = f"{probe.entry} ({source})"

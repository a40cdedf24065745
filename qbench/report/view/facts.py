"""Facts of runs for the head and foot of a page: models, hardware, time, version, environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qbench.report.view.cells import cut
from qbench.results.columns.column import Row

Manifests = Mapping[str, Mapping[str, Any]]
_NAMED = 8
_LONGEST_SUITE = 20_000


@dataclass(frozen=True)
class Environment:
    """One run's manifest, flattened to `dotted.key` → text."""

    run: str
    facts: dict[str, str]
    suite_text: str


def facts(rows: list[Row], manifests: Manifests) -> dict[str, str]:
    facts = {
        "Models": _some(distinct(rows, "model")),
        "Hardware": _some(sorted(filter(None, map(hardware, manifests.values())))),
        "Load average": _some(sorted(filter(None, map(load, manifests.values())))),
        "Quality": _some(distinct(rows, "perplexity_protocol")),
        "Measured": _when(rows),
        "qbench": _some(sorted(filter(None, map(_version, manifests.values())))),
        "Runs": _some(distinct(rows, "run")),
    }
    return {name: value for name, value in facts.items() if value}


def _some(values: list[str]) -> str:
    """Distinct values in a line, the first few of many."""
    values = list(dict.fromkeys(values))
    named = ", ".join(cut(value) for value in values[:_NAMED])
    return f"{named} and {len(values) - _NAMED} more" if len(values) > _NAMED else named


def environment_of(run: str, manifest: Mapping[str, Any]) -> Environment:
    """Without what the page says elsewhere (the cells) or as a whole (the suite)."""
    facts = {key: value for key, value in manifest.items() if key not in ("cells", "suite_text")}
    return Environment(run, dict(_flat(facts)), cut(str(manifest.get("suite_text", "")), _LONGEST_SUITE))


def hardware(manifest: Mapping[str, Any]) -> str:
    """The CPU's name and cores and the GPUs' names as far as the manifest says them."""
    environment = _mapping(manifest.get("environment"))
    cpu = environment.get("cpu")
    name = _mapping(cpu).get("model") if isinstance(cpu, Mapping) else cpu
    gpus = environment.get("gpus")
    names = [str(_mapping(gpu).get("name", gpu)) for gpu in gpus] if isinstance(gpus, list) else []
    cores = _cores(manifest)
    said = f"{name}, {cores} core{'s' * (cores != 1)}" if name and cores else str(name or "")
    return " + ".join([*([said] if said else []), *names])


def load(manifest: Mapping[str, Any]) -> str:
    """Note on a machine with more load than the run itself; empty without such load.

    The averages over one and five minutes when a launch ended, and over one when it began: those speak of the
    time of measuring. The run itself is a part of them, so that what counts is more than its cores and one.
    """
    cores, launches = _cores(manifest), manifest.get("launches")
    found = list[float]()
    for launch in map(_mapping, launches if isinstance(launches, list) else []):
        for name, first in (("load_average", 1), ("load_average_at_end", 2)):
            averages = launch.get(name)
            found += [
                one for one in (averages if isinstance(averages, list) else [])[:first] if _is_number(one)
            ]
    if not cores or not found or max(found) <= cores + 1:
        return ""
    return f"up to {max(found):.0f} on {cores} core{'s' * (cores != 1)} while measuring"


def _cores(manifest: Mapping[str, Any]) -> int | None:
    cores = _mapping(_mapping(manifest.get("environment")).get("cpu")).get("cores")
    return cores if isinstance(cores, int) and cores > 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _version(manifest: Mapping[str, Any]) -> str:
    return str(_mapping(manifest.get("environment")).get("qbench", ""))


def _when(rows: list[Row]) -> str:
    times = sorted(row["started_at"] for row in rows if row["started_at"] is not None)
    if not times:
        return ""
    first, last = f"{times[0]:%Y-%m-%d %H:%M}", f"{times[-1]:%Y-%m-%d %H:%M}"
    return (
        f"{first} UTC"
        if first == last
        else f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"
    )


def distinct(rows: list[Row], name: str) -> list[str]:
    return sorted({str(row[name]) for row in rows if row[name] is not None})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested objects as dotted keys; lists of plain values on one line; long texts cut, and marked as cut."""
    if isinstance(value, Mapping) and value:
        inner = ((f"{prefix}.{key}" if prefix else str(key), below) for key, below in value.items())
        return [pair for key, below in inner for pair in _flat(below, key)]
    if isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        return [pair for place, below in enumerate(value) for pair in _flat(below, f"{prefix}[{place}]")]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [(cut(prefix), cut(text))]

"""From frame and manifests to what the page says: plain data, no markup.

Everything here may come from a record and is text; the template escapes it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd

from qbench.report.answers import answer
from qbench.report.table import Table, build_table
from qbench.results.record import Status

Row = dict[str, Any]
Manifests = Mapping[str, Mapping[str, Any]]
_LONGEST = 240


@dataclass(frozen=True)
class Group:
    """The cells of one model in one dtype on one device."""

    title: str
    sentence: str


@dataclass(frozen=True)
class Environment:
    """One run's manifest, flattened to `dotted.key` → text."""

    run: str
    facts: dict[str, str]
    suite_text: str


@dataclass(frozen=True)
class View:
    title: str
    facts: dict[str, str]
    """Models, hardware, when, version: the head of the page."""
    counts: dict[str, int]
    """Cells by status, in the order of `Status`; only those that occur."""
    groups: list[Group]
    table: Table
    problems: list[str]
    environments: list[Environment]
    rows: list[Row]
    """Of the frame, for whoever draws them."""


def build_view(frame: pd.DataFrame, manifests: Manifests) -> View:
    """`manifests` maps a run's name to its manifest; what a manifest lacks is left out of the page."""
    rows = plain_rows(frame)
    occurring = Counter(row["status"] for row in rows)
    suites = _distinct(rows, "suite")
    return View(
        title=", ".join(suites) or "No cell has finished yet",
        facts=_facts(rows, manifests),
        counts={status: occurring[status] for status in get_args(Status) if occurring[status]},
        groups=_groups(rows),
        table=build_table(rows),
        problems=list(frame.attrs.get("problems", [])),
        environments=[_environment(run, manifest) for run, manifest in manifests.items()],
        rows=rows,
    )


def plain_rows(frame: pd.DataFrame) -> list[Row]:
    """The frame's rows as dicts, nulls as None and `missing` parsed."""
    values = frame.astype("object")
    rows: list[Row] = values.where(values.notna(), None).to_dict("records")  # type: ignore[assignment]
    for row in rows:
        row["missing"] = json.loads(row["missing"] or "{}")
    return rows


def _groups(rows: list[Row]) -> list[Group]:
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    names = {(row["run"], row["cell_id"]): row["model"] for row in rows}
    for row in rows:  # a checkpoint that was quantized before the run stands beside its base
        model = str(names.get((row["run"], row["base_cell_id"]), row["model"]))
        ran = [] if row["runtime"] == "eager" else [row["runtime"]]
        found[row["suite"], model, row["dtype"], row["device"], *ran].append(row)
    several_suites = len({suite for suite, *_ in found}) > 1
    return [
        Group(
            title=" · ".join(key if several_suites else key[1:]),
            sentence=answer(members),
        )
        for key, members in sorted(found.items())
    ]


def _facts(rows: list[Row], manifests: Manifests) -> dict[str, str]:
    facts = {
        "Models": ", ".join(_distinct(rows, "model")),
        "Hardware": ", ".join(
            sorted({text for manifest in manifests.values() if (text := hardware(manifest))})
        ),
        "Measured": _when(rows),
        "qbench": ", ".join(
            sorted({text for manifest in manifests.values() if (text := _version(manifest))})
        ),
        "Runs": ", ".join(_distinct(rows, "run")),
    }
    return {name: value for name, value in facts.items() if value}


def _environment(run: str, manifest: Mapping[str, Any]) -> Environment:
    """Without what the page says elsewhere (the cells) or as a whole (the suite)."""
    facts = {key: value for key, value in manifest.items() if key not in ("cells", "suite_text")}
    return Environment(run, dict(_flat(facts)), str(manifest.get("suite_text", "")))


def hardware(manifest: Mapping[str, Any]) -> str:
    """The CPU's and the GPUs' names as far as the manifest says them."""
    environment = _mapping(manifest.get("environment"))
    cpu = environment.get("cpu")
    name = _mapping(cpu).get("model") if isinstance(cpu, Mapping) else cpu
    gpus = environment.get("gpus")
    names = [str(_mapping(gpu).get("name", gpu)) for gpu in gpus] if isinstance(gpus, list) else []
    return " + ".join([*([str(name)] if name else []), *names])


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


def _distinct(rows: list[Row], name: str) -> list[str]:
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
    return [(prefix, text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text)} characters)")]

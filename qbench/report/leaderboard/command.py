"""The command that measures one cell again: a filter that selects it alone, and the suite it came from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

from qbench.cell import EAGER, Cell
from qbench.errors import SuiteError
from qbench.fields import one_line
from qbench.json_object import JsonObject
from qbench.suite.load import packaged_suites, parse_suite

SAVED = "saved"
"""The method of quantized checkpoints, whose label is not the suite's but the checkpoint's."""


@dataclass(frozen=True)
class Origin:
    """Facts of a suite from a run's manifest, as far as a command needs them."""

    argument: str
    """Argument of `qbench run`: the packaged name, or the file's."""
    where: str
    """Place of the suite's text."""
    devices: tuple[str, ...] = ()
    """Variants as the suite writes them; empty where its text cannot be read."""
    runtimes: tuple[str, ...] = ()
    repetitions: int = 1
    gpus: Mapping[str, str] = field(default_factory=dict)
    """Device → name of the GPU."""


@dataclass(frozen=True)
class Command:
    text: str
    """For a POSIX shell."""
    note: str
    """Words of the command, and other cells that it selects."""


def origin_of(manifest: Mapping[str, Any]) -> Origin:
    """From a run's manifest, whatever is in it."""
    name, text = str(manifest.get("suite") or "suite"), str(manifest.get("suite_text") or "")
    packaged = name in packaged_suites() and _packaged_text(name) == text
    file = str(manifest.get("suite_file") or f"{name}.yaml")
    where = (
        "The suite comes with qbench."
        if packaged
        else f"{file} stands under “Environment and suite”, and as suite_text in the run's manifest.json."
    )
    known: JsonObject = {}
    try:
        suite = parse_suite(text, file)
        known = {
            "devices": tuple(suite.devices),
            "runtimes": tuple(suite.runtimes),
            "repetitions": suite.repetitions,
        }
    except SuiteError:  # an older schema, or no suite: the command then names all it knows
        pass
    return Origin(name if packaged else file, where, gpus=_gpus(manifest), **known)


def command(cell: Cell, origin: Origin) -> Command:
    """`--fresh`, because a run that has the cell already would leave it as it is."""
    parts = {"model": cell.model.name, "dtype": cell.dtype}
    if len(origin.devices) != 1:
        parts["device"] = _written(cell.device, origin)
    if len(origin.runtimes) != 1 and (origin.runtimes or cell.runtime != EAGER):
        parts["runtime"] = cell.runtime
    parts |= {"method": SAVED} if cell.method == SAVED else {"label": cell.label}
    chosen = ",".join(f"{key}={exactly(value)}" for key, value in parts.items())
    more = (
        f" It takes all {origin.repetitions} repetitions of the cell, which no filter tells apart."
        if origin.repetitions > 1
        else ""
    )
    return Command(
        f"qbench run {shlex.quote(origin.argument)} --fresh --filter {shlex.quote(chosen)}",
        f"{origin.where}{more}",
    )


def exactly(value: str) -> str:
    """The text as a filter's value that matches it alone: its pattern signs taken literally.

    `?`, any one sign, stands for what a filter cannot hold: a comma, blanks at the ends. A text with line
    breaks and the like is known to filters as JSON, whose quotes would be read as YAML's.
    """
    value, plain = one_line(value), value
    if value != plain:
        return f"?{exactly(value[1:-1])}?"
    first, last = len(value) - len(value.lstrip()), len(value.rstrip())
    return "".join(
        "?" if one == "," or not one.isprintable() or not first <= place < last
        else f"[{one}]" if one in "*?[" else one
        for place, one in enumerate(value)
    )  # fmt: skip


def _written(device: str, origin: Origin) -> str:
    """The device as the suite writes it; as the cell has it where that cannot be told."""
    others = [written for written in origin.devices if written != "cpu"]
    if device == "cpu" or device in others or not others:
        return device
    if len(others) == 1:
        return others[0]
    named = [written for written in others if _is(written, device, origin.gpus.get(device, ""))]
    return named[0] if named else device


def _is(written: str, device: str, gpu: str) -> bool:
    if written == "cuda":
        return device == "cuda:0"
    return bool(gpu) and fnmatchcase(gpu.lower(), f"*{written.lower()}*")


def _packaged_text(name: str) -> str:
    return (files("qbench.suites") / f"{name}.yaml").read_text(encoding="utf-8")


def _gpus(manifest: Mapping[str, Any]) -> dict[str, str]:
    environment = manifest.get("environment")
    found = environment.get("gpus") if isinstance(environment, Mapping) else None
    gpus = [gpu for gpu in found if isinstance(gpu, Mapping)] if isinstance(found, list) else []
    return {
        str(gpu.get("device", f"cuda:{place}")): str(gpu.get("name", "")) for place, gpu in enumerate(gpus)
    }

"""Output of `qbench run --verify`: each repeated cell, and every number that differs."""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.report.text.sanitize import plain, plain_name

if TYPE_CHECKING:
    from qbench.run.verify import Verified


def say(verified: Sequence[Verified], file: Path, *, quiet: bool, json: bool) -> None:
    """Prints lines for a reader, one JSON object for a program, nothing where only the path was asked for."""
    if json:
        cells = [one.to_dict() for one in verified]
        print(json_.dumps({"event": "verified", "file": str(file), "cells": cells}), flush=True)
    elif not quiet:
        print("\n".join(_lines(verified, file)), flush=True)


def exit_code(verified: Sequence[Verified]) -> int:
    """0 where numbers were compared and all were equal; 1 otherwise: nothing compared is not verified."""
    return int(not all(one.equal for one in verified) or not any(one.metrics for one in verified))


def _lines(verified: Sequence[Verified], file: Path) -> list[str]:
    numbers = sum(len(one.metrics) for one in verified)
    if not numbers:
        return ["verified: nothing; no finished cell has a deterministic number"]
    same = sum(one.equal for one in verified)
    lines = [f"verified: {same} of {len(verified)} cells equal bit for bit ({numbers} numbers); {file}"]
    for one in verified:
        cell = one.first.cell
        name = f"  {plain_name(cell.model.name)} {plain_name(cell.label)} {cell.dtype} {cell.device}"
        if one.again.status != "ok":
            lines.append(f"{name}: {one.again.status} when repeated: {plain(one.again.reason)}")
        elif not one.metrics:
            lines.append(f"{name}: nothing was compared; it has no deterministic number")
        for metric in one.different:
            found = one.metrics[metric]
            lines.append(f"{name}: {metric}: {_text(found.first)} first, {_text(found.again)} again")
    return lines


def _text(value: float | list[float] | None) -> str:
    return f"{len(value)} values" if isinstance(value, list) else repr(value)

"""Checks of the options of `qbench gate` before any work: combinations, and places to write to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from qbench.errors import GateError, ResultsError

BASELINES = "--against REF, --baseline-python PATH, or --baseline RESULTS"
ONLY_STORED = {
    "--results": "what is timed side by side is measured now",
    "--store": "side by side no run is made; --keep DIR keeps the records of both sides",
    "--gate-timed": "side by side what is timed is always gated",
}
"""Options without a meaning where two versions are timed side by side, with the reason."""
ONLY_TIMED = {
    "--budget": "a suite that is run once takes the time that it takes",
    "--seed": "the seed of what is measured stands in the suite",
    "--keep": "the run that is made lies where --store says",
}
"""Options without a meaning against a stored baseline, with the reason."""


def check_together(baselines: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Raises GateError where the options name no baseline or several, or where one would be ignored.

    `options` are the others, None where they were not given.
    """
    named = [name for name, value in baselines.items() if value is not None]
    if len(named) != 1:
        said = f"{' and '.join(named)} name several baselines; keep one" if named else "no baseline is named"
        raise GateError(f"{said}: {BASELINES}")
    given = [name for name, value in options.items() if value is not None]
    stored = named == ["--baseline"]
    for name in given:
        if name == "--candidate-python" and named != ["--baseline-python"]:
            raise GateError(f"{name} goes with --baseline-python; with {named[0]} this version is it")
        if name in ONLY_STORED and not stored:
            raise GateError(f"{name} goes with --baseline, and not with {named[0]}: {ONLY_STORED[name]}")
        if name in ONLY_TIMED and stored:
            said = f"{name} goes with --against or --baseline-python, and not with --baseline"
            raise GateError(f"{said}: {ONLY_TIMED[name]}")
    if {"--results", "--store"} <= set(given):
        raise GateError("--store says where a run is made, and with --results none is made; leave one out")


def check_places(files: Mapping[str, Path | None], keep: Path | None) -> None:
    """Raises ResultsError where a place cannot be written to, as far as can be told before.

    Two options may not name the same place, however it is spelled: the later would replace the earlier.
    """
    places = {**files, "--keep": keep}
    _check_distinct({name: place for name, place in places.items() if place is not None})
    for name, place in places.items():
        if place is not None:
            try:
                (_check_folder if place is keep else _check_file)(name, place)
            except OSError as error:  # a folder on the way that may not be entered
                raise ResultsError(
                    f"{name} {place}: {error.strerror or error}; name another place"
                ) from error


def _check_distinct(places: Mapping[str, Path]) -> None:
    seen: dict[str, str] = {}
    for name, place in places.items():
        first = seen.setdefault(os.path.realpath(place), name)
        if first != name:
            raise ResultsError(f"{first} and {name} both name {place}; give each a place of its own")


def _check_file(name: str, file: Path) -> None:
    if file.is_dir():
        raise ResultsError(f"{name} {file} is a folder; name a file")
    if file.exists() and not file.is_file():  # a device or a pipe, which is written into where it is
        if not os.access(file, os.W_OK):
            raise ResultsError(f"{name} {file}: this user may not write into it; name another place")
        return
    file = Path(os.path.realpath(file)) if file.is_symlink() else file
    if not file.parent.is_dir():
        raise ResultsError(f"{name} {file}: there is no folder {file.parent}; make it, or name another file")
    _check_folder(name, file.parent)


def _check_folder(name: str, folder: Path) -> None:
    """Checks a folder, or the nearest one above it where it does not exist yet."""
    there = next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), Path("/"))
    if not there.is_dir():
        raise ResultsError(f"{name} {folder}: {there} is no folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ResultsError(f"{name} {folder}: this user may not write in {there}; name another place")

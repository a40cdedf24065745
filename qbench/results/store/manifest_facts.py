"""Facts of a run's manifest about machine and software, as flat text, and the differences of two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qbench.results.store.record import Record

LONG = 200
"""Length in characters from which only the words that differ are shown."""


def facts(manifest: Mapping[str, Any], records: Iterable[Record]) -> dict[str, str]:
    """Machine and software of a run, `dotted.key` → text, and the threads that its cells ran with."""
    threads = sorted({str(found) for record in records if (found := record.environment.get("threads"))})
    known = dict(_flat("", {**manifest.get("environment", {}), "load_average": None}))
    return {**known, "threads": ", ".join(threads)}


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """One line for each fact that differs."""
    return [f"{key}: {_few(a.get(key), b.get(key))}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            yield from _flat(f"{key}.{number}", inner)
    elif value not in (None, "", []):
        yield key, " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _few(a: str | None, b: str | None) -> str:
    """Both texts; of two long lists (a processor's flags) only the words that one of them lacks."""
    if a and b and min(len(a), len(b)) > LONG:
        mine, theirs = set(a.split()), set(b.split())
        a, b = (" ".join(sorted(only)) for only in (mine - theirs, theirs - mine))
    return f"A: {a or '–'}; B: {b or '–'}"

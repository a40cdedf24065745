"""Lookups in a record: a probe's samples, a phase's seconds, or None.

Each function takes one record. None is never an error here: `missing_reason` returns the reason. The
metrics of each probe stand in the probe's own folder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from qbench.results.store.record import Record

Value = float | None
Found = TypeVar("Found")
WHOLE_END = 2.0**63
"""Least number that is beyond whole numbers of 64 bits."""
_OUTSIDE_PROBES = {
    "phases": "this phase did not run",
    "layers": "no quantized layers",
    "model": "the record does not describe the model",
}


def remembered(function: Callable[[Record], Found]) -> Callable[[Record], Found]:
    """Caches the function's result for the last record.

    A row computes dozens of metrics of one record before the next; what they share is computed once. Callers
    must not change the result.
    """
    last: tuple[Record, Found] | None = None

    @functools.wraps(function)
    def answer(record: Record) -> Found:
        nonlocal last
        known = last
        if known is None or known[0] is not record:
            known = last = record, function(record)
        return known[1]

    return answer


def probe(record: Record, name: str) -> Mapping[str, Any]:
    """The probe's samples; empty where it did not run or had nothing to measure with."""
    found = record.samples.get(name, {})
    return {} if found.get("reason") is not None and found.get("value", None) is None else found


def absent(record: Record, source: str) -> str | None:
    """The reason for which this probe has no samples at all; None where it has some."""
    if source in _OUTSIDE_PROBES:
        return None
    found = record.samples.get(source)
    if found is None:
        return f"{source} was not asked for"
    return str(found["reason"]) if found.get("reason") and found.get("value") is None else None


def missing_reason(record: Record, source: str, name: str) -> str:
    """The reason for which metric `name` of `source` (a probe, `phases`, `layers`, `model`) is null."""
    if record.status != "ok":
        return f"{record.status}: {record.reason or 'no reason was recorded'}"
    return absent(record, source) or within(record, source, name)


def within(record: Record, source: str, name: str) -> str:
    """The reason for which the metric is null, in an ok record whose probe has samples."""
    if source in _OUTSIDE_PROBES:
        return _OUTSIDE_PROBES[source]
    found = record.samples[source]
    given = found.get("reason") or (found.get("reasons") or {}).get(name)
    return str(given) if given else _structural_reason(found, source, name)


def _structural_reason(found: Mapping[str, Any], source: str, name: str) -> str:
    if source == "latency" and found.get("runs") and name.startswith("decode"):
        return "undefined for fewer than two generated tokens"
    if source == "perplexity" and not finite(found.get("nll", [])):
        return "the log likelihood is not finite"
    if source == "perplexity" and _nothing_scored(found):
        return "no token was scored"
    if source == "tasks" and found.get("tasks"):
        return "no task of the suite has acc or exact_match"
    return f"the record's samples of {source} hold no {name}"


def _nothing_scored(perplexity: Mapping[str, Any]) -> bool:
    counts = (perplexity.get("tokens"), (perplexity.get("divergence") or {}).get("scored"))
    return any(given and not positive(given) for given in counts)


def phase(name: str) -> Callable[[Record], Value]:
    """Reader of a phase's seconds."""

    def value(record: Record) -> Value:
        return number(record.phases.get(name))

    return value


def finite(values: Sequence[float | None]) -> bool:
    """True where all are finite numbers; by their sum, since this runs for every cell of a large folder."""
    try:
        return math.isfinite(math.fsum(values))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # a null, inf − inf
        return False


def positive(counts: Sequence[float]) -> bool:
    """True where their sum is positive and finite."""
    try:
        return 0 < math.fsum(counts) < math.inf
    except (TypeError, ValueError, OverflowError):  # a null, a text
        return False


def number(value: Any) -> Value:
    """A finite number as a float; None for anything else."""
    kind = type(value)  # a row asks for many: what nearly all of them are comes first
    if value is None:
        return None
    if kind is int:
        return float(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)

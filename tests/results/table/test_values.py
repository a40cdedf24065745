"""A row asks each probe once: that must give what asking every metric by itself gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from qbench.results.store.record import Record
from qbench.results.table.metrics import METRICS, values
from tests.results import factory
from tests.results.many import many

PROBES = ("perplexity", "memory", "latency", "energy", "tasks")
STATES: dict[str, dict[str, Any] | None] = {
    "not asked for": None,
    "empty": {},
    "nothing to measure with": {"unit": "J", "value": None, "reason": "no_driver"},
    "a reason and samples": {"value": 1.0, "reason": "half of it"},
}


def records() -> list[Record]:
    return [*many(14, layers=2), factory.record(), factory.record("gptq")]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_asked_once_says_what_each_metric_says(name: str, state: str) -> None:
    for record in records():
        samples = {**record.samples, name: STATES[state]}
        if STATES[state] is None:
            del samples[name]
        changed = dataclasses.replace(record, samples=samples)  # type: ignore[arg-type]
        found, reasons = values(changed)
        assert found == {metric.name: metric.value(changed) for metric in METRICS.values()}
        null = {key: metric.reason(changed) for key, metric in METRICS.items() if found[key] is None}
        assert reasons == (null if record.status == "ok" else {})

"""Records for pictures, and the pictures that a page would draw of them."""

from __future__ import annotations

import math
import zlib
from typing import Any

from qbench.cell import ModelRef
from qbench.report.charts.charts import ChartSet, chart_set
from qbench.report.charts.collect import Collected, chart_facts
from qbench.report.view.context import plain_rows
from qbench.results.frames.frame import from_records
from qbench.results.store.record import Record
from tests.report.unpacked import unpack
from tests.results import factory

HOSTILE = "<b>x</b></script><img src=x onerror=alert(1)>\"'`%{y}&lt;$\\alpha$ 5"


def quantized(
    label: str, loss: float, weight_bytes: int, method: str = "absmax", bits: float = 8.25, **changes: Any
) -> Record:
    nll = [nats + 511 * math.log(loss) for nats in factory.LOSSES]
    params = {"num_bits": round(bits), "strategy": "channel"}
    samples = factory.samples(
        perplexity=factory.perplexity(nll), memory=factory.memory(weight_bytes), **changes.pop("samples", {})
    )
    seed = zlib.crc32(label.encode())  # a label is no part of the id
    cell = factory.cell(method, label=label, params=params, seed=seed, **changes.pop("cell", {}))
    layers = changes.pop("layers", [factory.layer(bits)])
    return factory.record(method, cell=cell, samples=samples, layers=layers, **changes)


RECORDS = [
    factory.record(),
    quantized("eight", 1.01, 6_000_000),
    quantized("four", 1.2, 4_000_000, "gptq", 4.25),
    quantized("worse", 1.5, 4_500_000, "hqq", 4.5),
]


def drawn(records: list[Record]) -> tuple[list[dict[str, Any]], ChartSet]:
    """The groups' rows as the page has them, and the charts."""
    collected = Collected()
    for record in records:
        collected.add(chart_facts(record))
    rows = plain_rows(from_records(records))
    return rows, chart_set(rows, collected)


def pictures(records: list[Record], chapter: int = 0) -> dict[str, dict[str, Any]]:
    found = unpack(drawn(records)[1].chapters[chapter].payload)
    return {picture["title"]: picture for picture in found["pictures"]}


def undrawn(records: list[Record]) -> dict[str, str]:
    found = unpack(drawn(records)[1].chapters[0].payload)
    return {one["title"]: one["reason"] for one in found["undrawn"]}


def trace(picture: dict[str, Any], name: str, view: int = 0) -> dict[str, Any]:
    return next(one for one in picture["views"][view]["data"] if one["name"] == name)


def other_model() -> list[Record]:
    model = ModelRef(name="other", source="builtin:other", weights="sha256:ffff")
    base = factory.record(cell=factory.cell(model=model))
    return [base, quantized("eight", 1.03, 6_000_000, cell={"model": model})]


def timed(seconds: float) -> dict[str, Any]:
    runs = []
    for length in (32, 128):
        for batch in (1, 4):
            one = factory.latency([seconds * length * batch * (1 + 0.1 * turn) for turn in range(7)])["runs"][
                0
            ]
            runs.append({**one, "prompt_length": length, "batch_size": batch})
    return {"unit": "s", "runs": runs}

"""Numbers that qbench has under other names, so that a test knows every one of them."""

from __future__ import annotations

from qbench.probes.latency.workloads import first_workload
from qbench.probes.quality.metrics import nll_per_token, perplexity, windows
from qbench.results.columns.column import Display, Gate
from qbench.results.columns.metric import ByWindow, Metric, VersusBase
from qbench.results.store.lookup import probe
from qbench.results.store.record import Record


def _scored_on(record: Record) -> tuple[str | None, ...]:
    return (probe(record, "perplexity").get("protocol"),)


def _losses(record: Record) -> list[float] | None:
    found = windows(record)
    return found[0] if found else None


BRANCHING = Metric(
    name="branching",
    unit="",
    direction="lower",
    kind="deterministic",
    source="perplexity",
    digits=4,
    description="words that the model holds possible at each token",
    value=perplexity,
    why=lambda record: "no text branches here" if probe(record, "perplexity") else None,
    gate=Gate(1.02),
    group="Quality",
    title="Branching factor",
    display=Display(35),
    by_window=ByWindow(
        sums=_losses,
        tokens=lambda record: probe(record, "perplexity").get("tokens", ()),
        scored_on=_scored_on,
        exponential=True,
    ),
    versus=VersusBase("ratio", title="Branching × base", display=Display(36), gate=Gate(1.03)),
)
NATS = Metric(
    name="nats",
    unit="nat",
    direction="lower",
    kind="deterministic",
    source="perplexity",
    digits=4,
    description="mean loss",
    value=nll_per_token,
    by_window=ByWindow(_losses, lambda record: probe(record, "perplexity").get("tokens", ()), _scored_on),
    versus=VersusBase("difference"),
)


def _slowest(record: Record) -> float | None:
    workload = first_workload(record)
    return max(workload.prefill) if workload and workload.prefill else None


SLOWEST = Metric(
    name="slowest_s",
    unit="s",
    direction="lower",
    kind="timed",
    source="latency",
    digits=3,
    description="slowest prefill",
    value=_slowest,
    versus=VersusBase("speedup"),
)
METRICS = (BRANCHING, NATS, SLOWEST)

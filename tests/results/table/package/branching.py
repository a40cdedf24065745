"""The branching factor of the text: the numbers of perplexity, so that a test knows every one."""

from __future__ import annotations

from qbench.probes.quality.metrics import perplexity, windows
from qbench.results.columns.column import Display, Gate
from qbench.results.columns.metric import ByWindow, Metric, VersusBase
from qbench.results.store.lookup import probe
from qbench.results.store.record import Record


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
        scored_on=lambda record: (probe(record, "perplexity").get("protocol"),),
        exponential=True,
    ),
    versus=VersusBase("ratio", title="Branching × base", display=Display(36), gate=Gate(1.03)),
)

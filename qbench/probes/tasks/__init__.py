"""Tasks: lm-eval's tasks on the prepared model."""

from __future__ import annotations

from qbench.probes.probe import Probe
from qbench.probes.tasks.metrics import METRICS, TEXTS
from qbench.probes.tasks.section import TasksSpec
from qbench.probes.tasks.series import QUANTITIES, series

PROBE = Probe(
    name="tasks",
    settings=TasksSpec,
    unit="nat",
    description="lm-eval's tasks, by document",
    order=50,  # last: lm-eval's imports fill memory and start a thread
    entry="qbench.probes.tasks.measure.lm_eval_tasks:measure",
    metrics=METRICS,
    title="Tasks of lm-eval; left out: none",
    series=series,
    quantities=QUANTITIES,
    texts=TEXTS,
)

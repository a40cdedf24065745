"""`PROBES`: every probe by name, in the order in which they run.

Perplexity first, energy (the longest) late, and tasks at the end: lm-eval's imports fill memory, start a
thread and would stand in every number taken after them.
"""

from __future__ import annotations

from qbench.probes.energy.measure import trials as energy
from qbench.probes.latency.measure import timing as latency
from qbench.probes.memory.measure import footprint as memory
from qbench.probes.probe import Probe
from qbench.probes.quality.measure import perplexity
from qbench.probes.tasks.measure import lm_eval_tasks as tasks

PROBES = {
    probe.name: probe
    for probe in (
        Probe("perplexity", "nat", "negative log likelihood by window of held-out text", perplexity.measure),
        Probe("memory", "B", "bytes on disk, resident by part, and at the peak", memory.measure),
        Probe("latency", "s", "prefill and each decode step, by prompt and batch", latency.measure),
        Probe("energy", "J", "energy per prompt token and per generated token", energy.measure),
        Probe("tasks", "nat", "lm-eval's tasks, by document", tasks.measure),
    )
}

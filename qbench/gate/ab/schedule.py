"""`Schedule`: the choice of the pairs that the next pass loads.

The choice does not change what the blocks prove (`qbench.gate.timing.process_starts`), only where the budget
goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qbench.gate.ab.paired_run import PairedRun

NEAR = 1.0
"""Log ratio of evidence within which pairs are loaded together; what stands out by more goes alone."""
SURE = 4.0
"""Log ratio of evidence from which on a pair is confirmed before anything else."""
FAIR = 0.25
"""Part of the time of later passes that goes to what had the fewest loads."""


@dataclass
class Schedule:
    """First every pair; then what looks worst and what comes near it, alone if it stands out.

    Unless that is all but sure, some passes go to what had the fewest loads, so that nothing waits for ever
    behind what cannot be decided.
    """

    most: int
    """Pairs of a pass after the first."""
    _fair: bool = False
    """True where the newest choice was by loads."""
    _fair_s: float = 0.0
    _later_s: float = 0.0
    _passes: int = field(default=0)

    def ended(self, took_s: float) -> None:
        """A pass is over."""
        if self._passes:
            self._later_s += took_s
            self._fair_s += took_s if self._fair else 0.0
        self._passes += 1

    def choose(self, urgency: Mapping[PairedRun, float]) -> list[PairedRun]:
        """Chooses among open pairs by the log ratio of evidence that each is worse rather than the same."""
        top = max(urgency.values(), default=0.0)
        self._fair = top < SURE and self._fair_s < FAIR * self._later_s
        found = sorted(urgency, key=lambda paired: paired.loads)
        if not self._fair:
            found = [paired for paired in found if urgency[paired] >= top - NEAR]
            found.sort(key=lambda paired: -urgency[paired])
        return found[: self.most]

"""`Schedule`: which pairs the next pass loads.

Whatever it chooses, the laps prove what they prove (`qbench.gate.timing.process_starts`): it is a matter of
where the seconds go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qbench.gate.ab.paired_run import Duel

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
    """Whether the newest choice was by loads."""
    _fair_s: float = 0.0
    _later_s: float = 0.0
    _passes: int = field(default=0)

    def ended(self, took_s: float) -> None:
        """A pass is over."""
        if self._passes:
            self._later_s += took_s
            self._fair_s += took_s if self._fair else 0.0
        self._passes += 1

    def choose(self, urgency: Mapping[Duel, float]) -> list[Duel]:
        """Of the pairs that are open, by how much each looks worse rather than the same: a log ratio."""
        top = max(urgency.values(), default=0.0)
        self._fair = top < SURE and self._fair_s < FAIR * self._later_s
        found = sorted(urgency, key=lambda duel: duel.loads)
        if not self._fair:
            found = [duel for duel in found if urgency[duel] >= top - NEAR]
            found.sort(key=lambda duel: -urgency[duel])
        return found[: self.most]

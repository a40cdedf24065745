"""`Block`: one request of one unit to both versions, one right after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qbench.gate.ab.units import Numbers, Unit
from qbench.gate.ab.versions import Role
from qbench.gate.ab.workers import WorkerHandle, Workers, believable


@dataclass
class Block:
    """Numbers of one paired round. Nothing is kept of one that `died` or `jumped`."""

    order: tuple[Role, ...]
    """Roles in the order of their slots."""
    numbers: dict[Role, Numbers] = field(default_factory=dict)
    rounds: dict[Role, list[float]] = field(default_factory=dict)
    """Seconds of the prefill and of each decode step, for a unit of rounds."""
    seconds: dict[Role, float] = field(default_factory=dict)
    """Duration of each whole slot, on the parent's steady clock."""
    lacking: dict[Role, str] = field(default_factory=dict)
    """Versions that have no number → reason."""
    died: bool = False
    """A worker died of its request."""
    jumped: bool = False
    """The reported time of a round exceeds that of its slot."""

    @property
    def spent_s(self) -> float:
        return sum(self.seconds.values())


def run_block(
    workers: Workers, handles: Mapping[Role, WorkerHandle], unit: Unit, order: Sequence[Role]
) -> Block:
    """Sends the request to both versions; not to the second once the block is lost."""
    block = Block(tuple(order))
    for role in order:
        answer, block.seconds[role] = workers.request(handles[role], unit.request)
        if answer is None:
            block.died = True
            return block
        if unit.kind == "round":
            if not believable(answer, block.seconds[role]):
                block.jumped = True
                return block
            block.rounds[role] = answer
        block.numbers[role], why = unit.numbers(answer, handles[role].entry.cell)
        if why is not None:
            block.lacking[role] = why
    return block

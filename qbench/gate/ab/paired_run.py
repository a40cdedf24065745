"""`PairedRun`: a pair of cells while it is measured: its workers, its blocks, and in the end its two
records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.units import Numbers, Unit
from qbench.gate.ab.versions import ROLES, Role, Version
from qbench.gate.ab.workers import WorkerHandle, Workers, believable
from qbench.json_object import JsonObject
from qbench.results.store.record import Record
from qbench.run.executors.running_cell import outcome

MOST_JUMPS = 20
"""Limit of blocks of a unit that cannot be believed, while there is none that can."""
MOST_LACKS = 3
"""Limit of blocks of a unit in which a version has no number."""


class Round(NamedTuple):
    """One version's part in a block."""

    seconds: list[float]
    """Seconds of the prefill and of each decode step."""
    block: int
    place: int
    """0: it went first."""
    load: int
    """Number of the pair of processes, from 1."""


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


@dataclass(eq=False)
class PairedRun:
    pair: Pair
    cell_id: str
    """The candidate's id, which stands for the pair."""
    words: str
    units: list[Unit]
    handles: dict[Role, WorkerHandle] = field(default_factory=dict)
    """In memory now."""
    records: dict[Role, Record] = field(default_factory=dict)
    """Records of the first load; for a candidate that fails in a later load, the record of that one."""
    died: dict[Role, str] = field(default_factory=dict)
    """Versions whose worker was warm in this load or an earlier one and did not end well → how."""
    workloads: dict[Role, list[JsonObject]] = field(default_factory=dict)
    rounds: dict[tuple[Role, int], list[Round]] = field(default_factory=dict)
    """Version and workload → its rounds, in the order of the blocks."""
    closed: dict[str, str] = field(default_factory=dict)
    """Units that get no more blocks → reason."""
    blocks: Counter[str] = field(default_factory=Counter)
    """Unit → blocks that were kept."""
    jumps: Counter[str] = field(default_factory=Counter)
    """Unit → blocks left out, since a reported time exceeds that of its slot."""
    lacks: dict[str, list[tuple[Role, ...]]] = field(default_factory=dict)
    """Unit → for each block that lacks a number, the versions that gave none."""
    shown: dict[str, list[dict[Role, Numbers]]] = field(default_factory=dict)
    """Unit → the numbers of its blocks, where some are shown and not gated."""
    loads: int = 0
    load_s: float = 0.0
    """Seconds of the newest load of both versions, until they were warm."""
    block_times: dict[str, float] = field(default_factory=dict)
    """Unit → seconds of its newest block."""
    baseline_s: dict[str, float] = field(default_factory=dict)
    """Unit → least seconds of the baseline's part in a block."""
    apart: str | None = None
    """Reason that the two versions cannot be in memory together."""

    @property
    def alive(self) -> bool:
        """True while both versions wait for requests."""
        return len(self.handles) == 2 and all(handle.waits for handle in self.handles.values())

    @property
    def block_s(self) -> float:
        """Seconds of one block of every unit, as far as they are known."""
        return sum(self.block_times.values())

    @property
    def ran_out_beside(self) -> str | None:
        """Reason that a version ended, where the other, or another pair, may have held the memory."""
        for handle in self.handles.values():
            if handle.ended and handle.running.beside:
                how = outcome(handle.running)
                if how.status == "oom":
                    return how.reason
        return None

    def load(
        self,
        workers: Workers,
        versions: Mapping[Role, Version],
        order: tuple[Role, ...],
        *,
        requests: bool = True,
    ) -> None:
        """Starts its workers one after the other, each until it is warm."""
        self.loads += 1
        self.load_s = 0.0
        for name in order:
            if self.pair.runs(name):
                entry = self.pair.entries[name]
                self.handles[name] = workers.start(
                    versions[name], entry, probes=name not in self.records, requests=requests
                )
                self.load_s += self.handles[name].load_s

    def land(self, workers: Workers, suite: str) -> None:
        """Ends its workers and keeps what they said."""
        handles, self.handles = self.handles, {}
        workers.dismiss(handles.values())
        for name, handle in handles.items():
            record = handle.record(suite)
            self.workloads.setdefault(name, handle.running.workloads)
            earlier = self.records.setdefault(name, record)
            if record.status == "ok" or (earlier is not record and earlier.status != "ok"):
                continue
            if handle.warm or earlier is not record:
                self.died[name] = f"in load {self.loads}: {record.status}: {record.reason or 'no reason'}"
            if name == "candidate":  # it fails; of the baseline the first record stays to compare with
                self.records[name] = record

    def keep(self, unit: Unit, block: Block) -> None:
        """Keeps a block that both versions finished."""
        place = {name: index for index, name in enumerate(block.order)}
        for name, seconds in block.rounds.items():
            rounds = self.rounds.setdefault((name, unit.workload), [])
            rounds.append(Round(seconds, len(rounds), place[name], self.loads))
        if unit.shown:
            self.shown.setdefault(unit.key, []).append(block.numbers)
        self.blocks[unit.key] += 1
        self.block_times[unit.key] = block.spent_s
        least_s = self.baseline_s.get(unit.key, block.seconds["baseline"])
        self.baseline_s[unit.key] = min(least_s, block.seconds["baseline"])

    def leave_out(self, unit: Unit) -> None:
        """Counts a block that cannot be believed; a unit of which none ever could is closed."""
        self.jumps[unit.key] += 1
        if self.jumps[unit.key] >= MOST_JUMPS and not self.blocks[unit.key]:
            self.closed[unit.key] = "no paired round can be believed"

    def lacks_only_here(self, unit: Unit, block: Block) -> bool:
        """Notes a block in which a version gave no number; True once the candidate alone has lacked it for
        good.

        It is tried a few times, since memory may have lacked for a moment.
        """
        tries = self.lacks.setdefault(unit.key, [])
        tries.append(tuple(sorted(block.lacking)))
        if len(tries) < MOST_LACKS:
            return False
        self.closed[unit.key] = "; ".join(f"{name}: {why}" for name, why in sorted(block.lacking.items()))
        return set(tries) == {("candidate",)} and not self.blocks[unit.key]

    def forget(self, workers: Workers) -> None:
        """Ends its workers and keeps nothing of them."""
        handles, self.handles = self.handles, {}
        workers.dismiss(handles.values())

    def final(self, name: Role) -> Record | None:
        """The version's record with all its rounds."""
        record = self.records.get(name)
        if record is None or record.status != "ok" or not self.workloads.get(name):
            return record
        runs = []
        for index, workload in enumerate(self.workloads[name]):
            rounds = self.rounds.get((name, index), [])
            times = {
                "prefill_s": [one.seconds[0] for one in rounds],
                "decode_s": [one.seconds[1:] for one in rounds],
            }
            places = {
                "lap": [one.block for one in rounds],
                "place": [one.place for one in rounds],
                "load": [one.load for one in rounds],
            }
            runs.append({**workload, **times, **places})
        return replace(record, samples={**record.samples, "latency": {"unit": "s", "runs": runs}})

    def statuses(self) -> dict[Role, str]:
        return {name: self.records[name].status for name in ROLES if name in self.records}

"""Two versions whose workers are scripts on a clock of their own: laps without a second of real time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qbench.cell import Cell, ModelRef
from qbench.gate.ab.install import Installed
from qbench.gate.ab.judge import only_shown, timed
from qbench.gate.ab.paired_run import PairedRun
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.units import units_of
from qbench.gate.ab.versions import ROLES, Entry, Role, Version
from qbench.gate.ab.workers import Workers
from qbench.gate.timing.timed import TimedComparisons
from qbench.gate.verdicts.finding import GateResult
from qbench.run.executors.executor import Capability, Ended, Event, Executor, Job
from qbench.run.worker.events import Malformed, Want, worker_event
from qbench.run.worker.requests import Go, Grant, Request, TimeRounds
from qbench.suite.gate import GateSpec
from tests.results.factory import with_sections

THRESHOLDS = {"prefill_s": 1.03, "decode_s_per_token": 1.03, "quantize_s": 1.2}
LATENCY = {"prompt_lengths": [8], "batch_sizes": [1], "generated_tokens": 3, "interleave": 4}


def cell(label: str, **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "model": ModelRef("m", "m", "sha256:0"),
        "method": "absmax",
        "params": {"num_bits": 8},
        "dtype": "bf16",
        "device": "cpu",
        "label": label,
        "latency": LATENCY,
        "layers": {"include": ["*"]},
    }
    return Cell(**with_sections({**values, **changes}))


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


Round = Callable[[Role, str, int], list[float] | None]
"""Version, label and the number of the round → its seconds; None: the worker dies of it."""


@dataclass(eq=False)
class Actor:
    """A worker as a script, and how it stands with its executor."""

    job: Job
    script: Iterator[dict[str, Any]]
    pid: int
    exit_code: int | None = None
    suspended: bool = False
    held: bool = False
    heard: Grant | None = None


@dataclass
class Stage(Executor):
    """One version's executor."""

    name = "stage"
    capabilities = frozenset(Capability)

    role: Role
    clock: Clock
    play: Round
    company: list[Actor]
    """The workers of both versions."""
    started: list[tuple[str, bool, bool]] = field(default_factory=list)
    """Label, probes, requests."""
    turns: list[tuple[str, str, float]] = field(default_factory=list)
    load_s: float = 1.0
    lap_s: float = 0.1
    most_in_memory: int = 99
    needs: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Label → the error with which it ends while it loads."""
    quantize_s: float | None = 0.2
    quantize_turn_s: float | None = None
    """The whole errand; None: as any."""
    no_number: Callable[[int], str | None] = lambda number: None
    """Why quantizing gives none, by the number of the errand in its worker."""

    def start(self, job: Job) -> None:
        work = job.work
        assert isinstance(work, TimeRounds)
        label = work.cell["label"]
        self.started.append((label, work.probes, work.turns))
        self.company.append(Actor(job, self._script(label, work), 1000 + len(self.company)))

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Event]]:
        """The one worker that may compute says its next word."""
        able = [one for one in self.company if one.exit_code is None and not one.suspended and not one.held]
        assert len(able) == 1, "more than one worker computes, or none"
        (actor,) = able
        try:
            event = worker_event(json.dumps(next(actor.script)).encode())
        except StopIteration as end:
            actor.exit_code = end.value
            return [(actor.job, Ended(end.value))]
        assert not isinstance(event, Malformed), event
        actor.held = isinstance(event, Want)
        return [(actor.job, event)]

    def grant(self, job: Job, grant: Grant, timeout_s: float | None = None) -> None:
        actor = self._of(job)
        assert actor.held
        assert (timeout_s is None) == isinstance(grant, Go), "each request has the cell's time"
        actor.suspended = actor.held = False
        actor.heard = grant

    def suspend(self, job: Job) -> None:
        assert self._of(job).held
        self._of(job).suspended = True

    def process_ids(self, jobs: Iterable[Job]) -> tuple[int, ...]:
        return tuple(self._of(job).pid for job in jobs)

    def close(self) -> None: ...

    def _of(self, job: Job) -> Actor:
        return next(one for one in self.company if one.job is job)

    def _script(self, label: str, work: TimeRounds) -> Iterator[dict[str, Any]]:
        actor = yield from self._loading(label)
        if actor is None:
            return 1
        if work.probes:
            yield {"event": "part", "key": "samples", "value": {"perplexity": {"of": self.role}}}
            yield {"event": "part", "key": "environment", "value": {"threads": 1}}
        yield {"event": "corner", "value": {"prompt_length": 8, "batch_size": 1, "generated_tokens": 3}}
        yield {"event": "needs", "bytes": dict(self.needs)}
        number = asked = 0
        while work.turns:
            yield {"event": "want", "stage": 0}
            assert isinstance(actor.heard, Request)
            errand = actor.heard.errand
            others = [one for one in self.company if one is not actor and one.exit_code is None]
            assert all(one.suspended for one in others), "somebody else may compute"
            if errand == "over":
                yield {"event": "release"}
                break
            began_s = self.clock.now_s
            longer = errand == "quantize" and self.quantize_turn_s is not None
            self.clock.now_s += self.quantize_turn_s if longer else self.lap_s  # type: ignore[operator]
            self.turns.append((label, errand, began_s))
            value: Any = {"seconds": self.quantize_s}
            if errand == "quantize":
                if why := self.no_number(asked):
                    value = {"seconds": None, "reason": why}
                asked += 1
            else:
                value = self.play(self.role, label, number)
                number += 1
                if value is None:
                    return -11
            yield {"event": "did", "errand": errand, "value": value}
            yield {"event": "release"}
        yield {"event": "done"}
        return 0

    def _loading(self, label: str) -> Iterator[dict[str, Any]]:
        actor = self.company[-1]
        yield {"event": "started"}
        yield {"event": "phase", "name": "quantize", "timed": True}
        yield {"event": "want", "phase": "quantize"}
        assert isinstance(actor.heard, Go)
        yield {"event": "release"}
        self.clock.now_s += self.load_s
        alive = sum(one.exit_code is None for one in self.company)
        if alive > self.most_in_memory:
            error = {"type": "MemoryError", "message": "no more", "traceback": "", "peak_rss_bytes": 1 << 20}
            yield {"event": "error", "status": "oom", **error}
            return None
        if label in self.errors:
            yield {"event": "error", **self.errors[label]}
            return None
        return actor


class Needs:
    """A family that decides a unit after so many laps, and keeps them."""

    def __init__(self, laps: int = 10) -> None:
        self.enough = laps
        self.laps: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}

    def open(self, cell_id: str, start: int | None = None) -> bool:
        return len(self.laps.get(cell_id, [])) < self.enough

    def urgency(self, cell_id: str) -> float:
        return 0.0

    def add_block(self, cell_id: str, baseline: Any, candidate: Any, start: int = 0) -> None:
        self.laps.setdefault(cell_id, []).append((dict(baseline), dict(candidate)))


def steady(name: Role, label: str, number: int) -> list[float]:
    return [0.02, 0.01, 0.01]


@dataclass
class Play:
    """Everything of one gate."""

    labels: list[str]
    play: Round = steady
    family: Needs = field(default_factory=Needs)
    budget_s: float = 100.0
    seed: int = 0
    most: int = 4
    settings: dict[str, Any] = field(default_factory=dict)
    """Of both stages."""
    quantizes: bool = False
    thresholds: Mapping[str, float] = field(default_factory=lambda: THRESHOLDS)
    confirm: bool | None = None
    """Given: the real family stands instead, confirming or not."""
    restarts: list[Role] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock, company = Clock(), list[Actor]()
        self.company = company
        self.stages = {name: Stage(name, clock, self.play, company, **self.settings) for name in ROLES}
        installed = Installed("python", "v", "")
        versions = {name: Version(name, installed, self.stages[name]) for name in ROLES}
        for version in versions.values():
            version.restart = lambda name=version.role: self.restarts.append(name)  # type: ignore[method-assign, misc]
        self.paired_runs = [self._paired_run(label) for label in self.labels]
        if self.confirm is not None:
            units = [unit for paired in self.paired_runs for unit in paired.units if unit.thresholds]
            limits = {unit.key: unit.thresholds for unit in units}
            names = {unit.key: unit.words for unit in units}
            self.family = TimedComparisons(limits, names, confirm=self.confirm)  # type: ignore[assignment]
        self.sampling = Sampling(
            Workers(clock),
            versions,
            self.family,
            self.paired_runs,
            self.budget_s,
            self.seed,
            "tiny",
            self.most,
        )

    def run(self) -> Play:
        self.sampling.run()
        assert self.sampling.workers.handles == [], "a worker is left"
        assert all(actor.exit_code is not None for actor in self.company)
        return self

    def _paired_run(self, label: str) -> PairedRun:
        planned = cell(label, **({} if self.quantizes else {"layers": {}}))
        entry = Entry(planned.to_dict(), planned, "run", None)
        pair = Pair({"baseline": entry, "candidate": entry})
        return PairedRun(pair, label, label, units_of(pair, label, label, self.thresholds))

    def result(self) -> GateResult:
        """What is timed of it, judged."""
        family: TimedComparisons = self.family  # type: ignore[assignment]
        found = (*timed(family, self.paired_runs, self.sampling), *only_shown(self.paired_runs, GateSpec()))
        return GateResult("tiny", found)

    @property
    def turns(self) -> list[tuple[Role, str, str]]:
        """Version, label and errand of every turn, in the order in which they were."""
        every = [(began, name, *rest) for name in ROLES for *rest, began in self.stages[name].turns]
        return [(name, label, errand) for _, name, label, errand in sorted(every)]  # type: ignore[misc]


def noisy(factor: float, seed: int = 0) -> Round:
    """Rounds of 20 ms and 10 ms a step with 2 % noise; the candidate's steps take `factor` times as long."""
    chance = random.Random(seed)

    def play(name: Role, label: str, number: int) -> list[float]:
        slow = factor if name == "candidate" else 1.0
        return [0.02 * chance.lognormvariate(0, 0.02)] + [
            0.01 * slow * chance.lognormvariate(0, 0.02) for _ in range(2)
        ]

    return play

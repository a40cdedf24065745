"""Two sides whose workers are scripts on a clock of their own: laps without a second of real time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qbench.cell import Cell, ModelRef
from qbench.gate.ab.install import Installed
from qbench.gate.ab.judge import only_shown, timed
from qbench.gate.ab.paired_run import Duel
from qbench.gate.ab.pairs import Pair
from qbench.gate.ab.sampling import Sampling
from qbench.gate.ab.units import units_of
from qbench.gate.ab.versions import SIDES, Entry, Name, Side
from qbench.gate.ab.workers import Crew
from qbench.gate.timing.timed import TimedFamily
from qbench.gate.verdicts.finding import GateResult
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


Round = Callable[[Name, str, int], list[float] | None]
"""Side, label and the number of the round → its seconds; None: the worker dies of it."""


@dataclass(eq=False)
class Actor:
    """A worker as a script, with what the parent uses of a `Job`."""

    script: Iterator[dict[str, Any]]
    pid: int
    exit_code: int | None = None
    events: deque[dict[str, Any]] = field(default_factory=deque)
    timed_out: bool = False
    peak_rss_bytes: int = 0
    stopped: bool = False
    held: bool = False
    heard: dict[str, Any] | None = None

    def log_tail(self, characters: int = 0) -> str:
        return ""

    def hold(self) -> None:
        self.held = True

    def renew(self, seconds: float) -> None:
        assert self.held
        assert seconds > 0

    def stop(self) -> None:
        assert self.held
        self.stopped = True

    def go_on(self) -> None:
        self.stopped = self.held = False

    def send(self, message: dict[str, Any]) -> None:
        assert not self.stopped, "a stopped worker is spoken to"
        self.heard = message


@dataclass
class Stage:
    """One side's pool."""

    name: Name
    clock: Clock
    play: Round
    company: list[Actor]
    """The workers of both sides."""
    started: list[tuple[str, bool, bool]] = field(default_factory=list)
    """Label, probes, turns."""
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

    def start(self, message: dict[str, Any], timeout_s: float) -> Actor:
        label = message["cell"]["label"]
        self.started.append((label, message["probes"], message["turns"]))
        actor = Actor(self._script(label, message), 1000 + len(self.company))
        self.company.append(actor)
        return actor

    def wait(self) -> list[Actor]:
        """The one worker that may compute says its next word."""
        able = [one for one in self.company if one.exit_code is None and not one.stopped and not one.held]
        assert len(able) == 1, "more than one worker computes, or none"
        try:
            able[0].events.append(next(able[0].script))
        except StopIteration as end:
            able[0].exit_code = end.value
        return able

    def _script(self, label: str, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        actor = yield from self._loading(label)
        if actor is None:
            return 1
        if message["probes"]:
            yield {"event": "part", "key": "samples", "value": {"perplexity": {"of": self.name}}}
            yield {"event": "part", "key": "environment", "value": {"threads": 1}}
        yield {"event": "corner", "value": {"prompt_length": 8, "batch_size": 1, "generated_tokens": 3}}
        yield {"event": "needs", "bytes": dict(self.needs)}
        number = asked = 0
        while message["turns"]:
            yield {"event": "want", "stage": 0}
            assert actor.heard is not None
            errand = actor.heard["errand"]
            others = [one for one in self.company if one is not actor and one.exit_code is None]
            assert all(one.stopped for one in others), "somebody else may compute"
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
                value = self.play(self.name, label, number)
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
        assert actor.heard is not None
        assert actor.heard.get("go") is True
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

    def open(self, cell_id: str, load: int | None = None) -> bool:
        return len(self.laps.get(cell_id, [])) < self.enough

    def urgency(self, cell_id: str) -> float:
        return 0.0

    def add_lap(self, cell_id: str, baseline: Any, candidate: Any, load: int = 0) -> None:
        self.laps.setdefault(cell_id, []).append((dict(baseline), dict(candidate)))


def steady(name: Name, label: str, number: int) -> list[float]:
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
    restarts: list[Name] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock, company = Clock(), list[Actor]()
        self.company = company
        self.stages = {name: Stage(name, clock, self.play, company, **self.settings) for name in SIDES}
        installed = Installed("python", "v", "")
        sides = {name: Side(name, installed, self.stages[name]) for name in SIDES}  # type: ignore[arg-type]
        for side in sides.values():
            side.restart = lambda name=side.name: self.restarts.append(name)  # type: ignore[method-assign, misc]
        self.duels = [self._duel(label) for label in self.labels]
        if self.confirm is not None:
            units = [unit for duel in self.duels for unit in duel.units if unit.thresholds]
            limits = {unit.key: unit.thresholds for unit in units}
            names = {unit.key: unit.words for unit in units}
            self.family = TimedFamily(limits, names, confirm=self.confirm)  # type: ignore[assignment]
        self.sampling = Sampling(
            Crew(clock), sides, self.family, self.duels, self.budget_s, self.seed, "tiny", self.most
        )

    def run(self) -> Play:
        self.sampling.run()
        assert self.sampling.crew.lanes == [], "a worker is left"
        assert all(actor.exit_code is not None for actor in self.company)
        return self

    def _duel(self, label: str) -> Duel:
        planned = cell(label, **({} if self.quantizes else {"layers": {}}))
        entry = Entry(planned.to_dict(), planned, "run", None)
        pair = Pair({"baseline": entry, "candidate": entry})
        return Duel(pair, label, label, units_of(pair, label, label, self.thresholds))

    def result(self) -> GateResult:
        """What is timed of it, judged."""
        family: TimedFamily = self.family  # type: ignore[assignment]
        found = (*timed(family, self.duels, self.sampling), *only_shown(self.duels, GateSpec()))
        return GateResult("tiny", found)

    @property
    def turns(self) -> list[tuple[Name, str, str]]:
        """Side, label and errand of every turn, in the order in which they were."""
        every = [(began, name, *rest) for name in SIDES for *rest, began in self.stages[name].turns]
        return [(name, label, errand) for _, name, label, errand in sorted(every)]  # type: ignore[misc]


def noisy(factor: float, seed: int = 0) -> Round:
    """Rounds of 20 ms and 10 ms a step with 2 % noise; the candidate's steps take `factor` times as long."""
    chance = random.Random(seed)

    def play(name: Name, label: str, number: int) -> list[float]:
        slow = factor if name == "candidate" else 1.0
        return [0.02 * chance.lognormvariate(0, 0.02)] + [
            0.01 * slow * chance.lognormvariate(0, 0.02) for _ in range(2)
        ]

    return play

"""Blocks and groups: the order of slots, simulated with workers that warm up slowly, die, and wait."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.cell import Cell, ModelRef
from qbench.results.store.folders import Run
from qbench.results.store.record import Record
from qbench.run.executors import memory_admission as room
from qbench.run.executors import scheduler as scheduling
from qbench.run.executors.executor import Capability, Ended, Event, Executor, Job
from qbench.run.executors.scheduler import Scheduler
from qbench.run.executors.slots import groups
from qbench.run.worker.events import Done, Want, WorkerEvent, worker_event
from qbench.run.worker.requests import Grant, MeasureCell, Slot
from tests.results.factory import with_sections
from tests.run.conftest import Listening

LATENCY = {"prompt_lengths": [8], "interleave": 8}
REPETITIONS = 3


def cell(number: int, *, interleave: int = 8, **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "model": ModelRef("m", "m", "sha256:0"),
        "method": "none" if number == 0 else "absmax",
        "params": {"number": number},
        "dtype": "bf16",
        "device": "cpu",
        "label": str(number),
        "latency": {**LATENCY, "interleave": interleave},
    }
    return Cell(**with_sections({**values, **changes}))


Word = dict[str, Any]


@dataclass(eq=False)
class Actor:
    """A worker as a script."""

    job: Job
    script: Iterator[Word]
    pid: int = 1
    exit_code: int | None = None
    suspended: bool = False
    asked: bool = False
    doomed: bool = False
    """It dies where it stands, even while it waits."""
    heard: Grant | None = None

    @property
    def slot(self) -> Slot:
        assert isinstance(self.heard, Slot)
        return self.heard


class Stage(Executor):
    """An executor of actors; in each wait one that can act says its next word."""

    name = "stage"
    capabilities = frozenset(Capability)

    def __init__(self, scripts: dict[str, Any], chance: random.Random) -> None:
        self.scripts, self.chance = scripts, chance
        self.actors: list[Actor] = []
        self.most = 0
        self.rounds: list[tuple[str, int, int, int]] = []

    def start(self, job: Job) -> None:
        assert isinstance(job.work, MeasureCell)
        actor = Actor(job, iter(()))
        actor.script = self.scripts[job.work.cell["label"]](actor, self)
        self.actors.append(actor)
        self.most = max(self.most, len(self.living))

    @property
    def living(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.exit_code is None]

    def of(self, job: Job) -> Actor:
        return next(actor for actor in self.actors if actor.job is job)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Event]]:
        free = [actor for actor in self.living if actor.doomed or not actor.asked]
        assert free, "everybody waits: nobody will ever say a word again"
        actor = self.chance.choice(free)
        if actor.doomed:
            actor.exit_code = -9
            return [(actor.job, Ended(-9))]
        assert not actor.suspended, "a suspended worker was left to compute"
        said = _typed(next(actor.script, {"event": "done"}))
        actor.asked = isinstance(said, Want)
        if not isinstance(said, Done):
            return [(actor.job, said)]
        actor.exit_code = 0
        return [(actor.job, said), (actor.job, Ended(0))]

    def stop(self, job: Job) -> None:
        raise AssertionError("no actor says what cannot be understood")

    def suspend(self, job: Job) -> None:
        assert self.of(job).asked, "a worker that computes is suspended"
        self.of(job).suspended = True

    def grant(self, job: Job, grant: Grant, timeout_s: float | None = None) -> None:
        actor = self.of(job)
        assert actor.asked
        assert timeout_s is None, "waiting costs a cell no time and gives it none"
        actor.suspended = actor.asked = False
        actor.heard = grant

    def process_ids(self, jobs: Iterable[Job]) -> tuple[int, ...]:
        return tuple(self.of(job).pid for job in jobs)

    def close(self) -> None: ...


def _typed(word: Word) -> WorkerEvent:
    return worker_event(json.dumps(word).encode())


GIB = 1 << 30


def worker(label: str, warm: int, dies_after: int | None = None, energy: bool = True) -> Any:
    """Quantizes, warms up for so many rounds, is timed, measures energy; dies with that word."""

    def script(actor: Actor, stage: Stage) -> Iterator[dict[str, Any]]:
        yield {"event": "want", "phase": "quantize"}
        assert all(other.suspended for other in stage.living if other is not actor)
        yield {"event": "release"}
        yield {"event": "needs", "bytes": {"host": GIB}}
        for number in range(warm + REPETITIONS):
            at = int(number >= warm)
            yield {"event": "want", "stage": at}
            assert all(other.suspended for other in stage.living if other is not actor)
            stage.rounds.append((label, at, actor.slot.lap, actor.slot.place))
            yield {"event": "release"}
        yield {"event": "part", "key": "samples", "value": {"latency": {"runs": []}}}
        yield {"event": "rounds_over"}
        if energy:
            yield {"event": "want", "phase": "energy"}
            assert all(other.suspended for other in stage.living if other is not actor)
            yield {"event": "release"}

    def mortal(actor: Actor, stage: Stage) -> Iterator[dict[str, Any]]:
        for number, word in enumerate(script(actor, stage)):
            actor.doomed = number == dies_after
            yield word

    return mortal


def play(
    tmp_path: Path,
    cells: list[Cell],
    scripts: dict[str, Any],
    jobs: int = 1,
    seed: int = 0,
    done: Any = (),
    stage: Stage | None = None,
) -> tuple[Stage, dict[str, Record]]:
    stage = stage or Stage(scripts, random.Random(seed))
    scheduler = Scheduler(Run("s", "r", tmp_path), Listening(), jobs)
    scheduler.work(stage, cells, done)
    return stage, {record.cell.label: record for record in scheduler.records}


def timed(stage: Stage) -> dict[str, list[int]]:
    """Laps of the timed rounds by cell."""
    found: dict[str, list[int]] = {}
    for label, at, lap, _ in stage.rounds:
        if at:
            found.setdefault(label, []).append(lap)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@given(
    warm=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    jobs=st.integers(1, 3),
    interleave=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_every_cell_is_timed_in_the_same_laps_as_the_others(
    folder: Path, warm: list[int], jobs: int, interleave: int, seed: int
) -> None:
    cells = [cell(number, interleave=interleave) for number in range(len(warm))]
    scripts = {str(number): worker(str(number), rounds) for number, rounds in enumerate(warm)}
    stage, records = play(folder, cells, scripts, jobs, seed)
    assert [records[str(number)].status for number in range(len(warm))] == ["ok"] * len(warm)
    assert stage.most <= max(interleave, jobs)
    laps = timed(stage)
    for label, record in records.items():
        found = record.samples["latency"]
        others = {one.label for one in cells if one.id in found["interleaved_with"]}
        assert len(others) < interleave
        assert all(laps[other] == laps[label] for other in others), "rounds of a lap are no neighbours"
        apart = {one.label for one in cells if one.id in found["not_interleaved_with"]}
        assert others | apart | {label} == set(records)
    assert {len(found) for found in laps.values()} == {REPETITIONS}


@given(deaths=st.lists(st.integers(0, 12), min_size=3, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_member_that_dies_at_any_word_hurts_no_other(folder: Path, deaths: list[int], seed: int) -> None:
    chance = random.Random(seed)
    mortal = {number for number in range(len(deaths)) if chance.random() < 0.5}
    cells = [cell(number) for number in range(len(deaths))]
    scripts = {
        str(number): worker(str(number), 2, word if number in mortal else None)
        for number, word in enumerate(deaths)
    }
    stage, records = play(folder, cells, scripts, seed=seed)
    assert {int(label) for label, record in records.items() if record.status != "ok"} == mortal
    laps = timed(stage)
    whole = [laps[str(number)] for number in range(len(deaths)) if number not in mortal]
    assert all(found == whole[0] for found in whole)
    assert all(len(found) == REPETITIONS for found in whole)


def test_laps_are_permutations_that_the_seed_alone_decides(folder: Path) -> None:
    cells = [cell(number) for number in range(4)]
    scripts = {str(number): worker(str(number), 20, energy=False) for number in range(4)}
    orders = []
    for seed in (1, 2):  # who speaks first differs, the order of the turns does not
        stage, _ = play(folder, cells if seed == 1 else cells[::-1], scripts, seed=seed)
        laps: dict[int, list[str]] = {}
        for label, _, lap, place in stage.rounds:
            assert place == len(laps.setdefault(lap, []))
            laps[lap].append(label)
        orders.append(list(laps.values()))
    assert orders[0] == orders[1]
    assert all(sorted(order) == ["0", "1", "2", "3"] for order in orders[0])
    firsts = Counter(order[0] for order in orders[0])
    assert len(firsts) == 4, "some cell never went first in 23 laps"
    other = [cell(number, seed=5) for number in range(4)]
    stage, _ = play(folder, other, scripts)
    changed = [label for label, *_ in stage.rounds]
    assert changed != [label for order in orders[0] for label in order]


def test_a_full_group_is_split_as_evenly_as_can_be() -> None:
    cells = [cell(number, interleave=8) for number in range(9)]
    assert [len(group.waiting) for group in groups(cells)] == [4, 5]
    assert [len(group.waiting) for group in groups(cells[:8])] == [8]
    alone = [cell(number, interleave=1) for number in range(3)]
    assert [[one.label for one in group.waiting] for group in groups(alone)] == [["0"], ["1"], ["2"]]


def test_only_what_is_compared_takes_turns() -> None:
    cells = [
        cell(0),
        cell(1, dtype="fp32"),
        cell(2),
        cell(3, latency=None),
        cell(4, latency=None),
        cell(5, model=ModelRef("n", "n", "sha256:1")),
        cell(6, dtype="fp32"),
    ]
    found = [[one.label for one in group.waiting] for group in groups(cells)]
    assert found == [["0", "2"], ["1", "6"], ["3"], ["4"], ["5"]]


def test_a_checkpoint_takes_turns_with_the_model_that_it_was_made_from() -> None:
    saved = cell(1, model=ModelRef("q", "./q", "sha256:quantized"))
    assert [len(group.waiting) for group in groups([cell(0), saved])] == [1, 1]
    made_from = {"sha256:quantized": "sha256:0"}
    assert [len(group.waiting) for group in groups([cell(0), saved], (), made_from)] == [2]


def test_a_resumed_cell_says_that_its_base_was_measured_before(folder: Path) -> None:
    base, first, second = (cell(number) for number in range(3))
    scripts = {str(number): worker(str(number), 2) for number in range(3)}
    _, records = play(folder, [first, second], scripts, done=[base, cell(9, dtype="fp32")])
    found = records["1"].samples["latency"]
    assert found["interleaved_with"] == [second.id]
    assert found["not_interleaved_with"] == {base.id: "it was measured in an earlier launch"}


def test_a_group_closes_early_where_memory_lacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scheduling,
        "lacking",
        lambda needs: "it may take 9 MiB, and 1 MiB are free" if len(needs) == 2 else None,
    )
    cells = [cell(number) for number in range(5)]
    scripts = {str(number): worker(str(number), 2) for number in range(5)}
    stage, records = play(folder, cells, scripts)
    assert stage.most <= 3  # the two of a group, one of them at its end, and the first of the next
    with_whom = [len(records[str(number)].samples["latency"]["interleaved_with"]) for number in range(5)]
    assert with_whom == [1, 1, 1, 1, 0]
    reasons = records["0"].samples["latency"]["not_interleaved_with"]
    assert set(reasons) == {one.id for one in cells[2:]}
    assert all("no memory for one more worker: it may take 9 MiB" in why for why in reasons.values())
    assert set(records["4"].samples["latency"]["not_interleaved_with"]) == {one.id for one in cells[:4]}


@pytest.mark.parametrize("jobs", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_no_worker_starts_beside_others_that_leave_it_no_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, seed: int
) -> None:
    """Each worker takes 1 GiB, one more is allowed for with 1.5, and 1.4 GiB are free beside two of them."""
    scripts = {str(number): worker(str(number), 2) for number in range(6)}
    stage = Stage(scripts, random.Random(seed))
    monkeypatch.setattr(room, "available_bytes", lambda: int(3.4 * GIB) - len(stage.living) * GIB)
    _, records = play(folder, [cell(number) for number in range(6)], scripts, jobs, stage=stage)
    assert {record.status for record in records.values()} == {"ok"}
    assert stage.most == max(2, jobs), "who starts while nobody has said what it needs is not held back"
    reasons = records["0"].samples["latency"]["not_interleaved_with"].values()
    assert all("no memory for one more worker: it may take 1536 MiB" in why for why in reasons)
    assert reasons


def greedy(label: str, fits_alone: bool) -> Any:
    """Runs out of memory beside others, in its rounds; alone too unless it fits."""

    def script(actor: Actor, stage: Stage) -> Iterator[dict[str, Any]]:
        if stage.living == [actor] and fits_alone:
            yield from worker(label, 2)(actor, stage)
        else:
            yield {"event": "want", "stage": 0}
            error = {"type": "OutOfMemoryError", "message": "no room", "traceback": ""}
            yield {"event": "error", "status": "oom", "peak_rss_bytes": 5 << 20, **error}

    return script


@pytest.mark.parametrize("fits_alone", [True, False])
@pytest.mark.parametrize("jobs", [1, 2])
def test_who_ran_out_of_memory_beside_others_has_a_second_try_alone(
    folder: Path, jobs: int, fits_alone: bool
) -> None:
    cells = [cell(number) for number in range(4)]
    scripts = {str(number): worker(str(number), 2) for number in range(4)}
    stage, records = play(folder, cells, {**scripts, "1": greedy("1", fits_alone)}, jobs)
    assert len(records) == 4
    assert len(stage.actors) == 5, "once more, and no oftener"
    retried = records.pop("1")
    assert retried.status == ("ok" if fits_alone else "oom")
    first = "OutOfMemoryError in phase start: no room (peak 5 MiB)"
    assert retried.environment["retried_alone"] == first
    assert all("retried_alone" not in record.environment for record in records.values())
    assert {record.status for record in records.values()} == {"ok"}
    if fits_alone:
        latency = retried.samples["latency"]
        assert latency["interleaved_with"] == []
        why = "it ran out of memory beside others and was measured again by itself"
        assert latency["not_interleaved_with"] == dict.fromkeys((cells[i].id for i in (0, 2, 3)), why)


def test_a_cells_own_memory_limit_is_no_reason_for_a_second_try(folder: Path) -> None:
    scripts = {"0": worker("0", 2), "1": greedy("1", fits_alone=True)}
    stage, records = play(folder, [cell(0), cell(1, memory_limit=1 << 30)], scripts)
    assert len(stage.actors) == 2
    assert records["1"].status == "oom"


def test_a_worker_that_has_the_machine_knows_its_siblings_on_the_device(folder: Path) -> None:
    told: list[tuple[str, set[int]]] = []

    def script(label: str) -> Any:
        def say(actor: Actor, stage: Stage) -> Iterator[dict[str, Any]]:
            actor.pid = 100 + int(label)
            for word in worker(label, 1)(actor, stage):
                yield word
                if word["event"] == "want" and len(stage.living) == 3:
                    told.append((label, set(actor.heard.siblings)))

        return say

    cells = [cell(number, device="cuda:1" if number == 2 else "cuda:0") for number in range(3)]
    play(folder, cells, {str(number): script(str(number)) for number in range(3)}, jobs=3)
    assert {label for label, _ in told} == {"0", "1", "2"}
    expected = {"0": {101}, "1": {100}, "2": set()}
    assert all(pids == expected[label] for label, pids in told)

"""States of a running job: every transition that is allowed, and that every other one raises."""

from __future__ import annotations

import itertools

import pytest

from qbench.run.executors.executor import Ended, Event, Job
from qbench.run.executors.running_job import RunningJob
from qbench.run.executors.state import (
    BEFORE_ROUNDS_END,
    BUSY,
    OVER,
    TRANSITIONS,
    WAITING,
    State,
    Step,
    TransitionError,
    after,
)
from qbench.run.worker.events import Done, Failure, Phase, Release, RoundsOver, Started, Want
from qbench.run.worker.requests import MeasureCell

ALLOWED = """
COMPUTES: WANT_MACHINE AWAITS_MACHINE, WANT_SLOT AWAITS_FIRST_SLOT, ROUNDS_OVER ROUNDS_OVER, DONE FINISHED
AWAITS_MACHINE: GRANT HAS_MACHINE
HAS_MACHINE: RELEASE COMPUTES
AWAITS_FIRST_SLOT: GRANT HAS_SLOT
HAS_SLOT: RELEASE BETWEEN_SLOTS
BETWEEN_SLOTS: WANT_SLOT AWAITS_SLOT, ROUNDS_OVER ROUNDS_OVER, DONE FINISHED
AWAITS_SLOT: GRANT HAS_SLOT
ROUNDS_OVER: WANT_MACHINE AWAITS_MACHINE_AFTER, WANT_SLOT AWAITS_FIRST_SLOT, ROUNDS_OVER ROUNDS_OVER, DONE FINISHED
AWAITS_MACHINE_AFTER: GRANT HAS_MACHINE_AFTER
HAS_MACHINE_AFTER: RELEASE ROUNDS_OVER
FINISHED: END ENDED
FAILED: END DIED
"""  # noqa: E501
LIVE = {state for state in State if state.name not in ("FINISHED", "FAILED", "ENDED", "DIED")}


def _allowed() -> dict[tuple[State, Step], State]:
    """The table above, and that whatever lives may fail and die."""
    found = {}
    for line in ALLOWED.split("\n"):
        name, _, pairs = line.partition(": ")
        for pair in filter(None, pairs.split(", ")):
            step, to = pair.split()
            found[State[name], Step[step]] = State[to]
    for state in LIVE:
        found[state, Step.FAIL] = State.FAILED
        found[state, Step.END] = State.DIED
    return found


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)), ids=lambda one: one.name)
def test_every_transition_is_as_written_here_or_raises(state: State, step: Step) -> None:
    to = _allowed().get((state, step))
    if to is not None:
        assert after(state, step) is to
        return
    with pytest.raises(TransitionError, match=r"a job that .* cannot be one that"):
        after(state, step)


def test_the_sets_of_states() -> None:
    assert {state.name for state in WAITING} == {
        "AWAITS_MACHINE", "AWAITS_FIRST_SLOT", "AWAITS_SLOT", "AWAITS_MACHINE_AFTER"
    }  # fmt: skip
    assert not BUSY & OVER
    assert {state.name for state in LIVE - BUSY} == {"COMPUTES", "AWAITS_FIRST_SLOT", "ROUNDS_OVER"}
    after_rounds = {"ROUNDS_OVER", "AWAITS_MACHINE_AFTER", "HAS_MACHINE_AFTER"}
    assert {state.name for state in LIVE - BEFORE_ROUNDS_END} == after_rounds
    assert set(TRANSITIONS.values()) | {State.COMPUTES} == set(State), "a state that nothing leads to"


def running(*events: Event) -> RunningJob:
    """A job that has heard these; it is granted the machine whenever it waits."""
    job = RunningJob(Job(MeasureCell({}), 1))
    for event in events:
        assert job.note(event)
        if job.waits:
            job.granted()
    return job


def test_a_whole_life() -> None:
    life: list[Event] = [
        Started(), Phase("quantize", True), Want(phase="quantize"), Release(), Want(stage=0), Release(),
        Want(stage=2), Release(), RoundsOver(), Want(phase="energy"), Release(), Done(), Ended(0),
    ]  # fmt: skip
    states = [running(*life[:count]).state.name for count in range(len(life) + 1)]
    assert states == [
        "COMPUTES", "COMPUTES", "COMPUTES", "HAS_MACHINE", "COMPUTES", "HAS_SLOT", "BETWEEN_SLOTS",
        "HAS_SLOT", "BETWEEN_SLOTS", "ROUNDS_OVER", "HAS_MACHINE_AFTER", "ROUNDS_OVER", "FINISHED", "ENDED",
    ]  # fmt: skip


def test_a_worker_that_does_what_its_state_forbids_has_failed() -> None:
    job = running(Started())
    assert not job.note(Release())
    assert job.state is State.FAILED
    assert job.failure is not None
    assert (job.failure.status, job.failure.type) == ("failed", "ProtocolError")
    assert job.note(Want(stage=0)), "it is ignored from now on"
    assert job.state is State.FAILED
    job.note(Ended(-9))
    assert job.state is State.DIED


def test_a_worker_that_failed_says_why() -> None:
    failure = Failure("oom", "MemoryError", "no room")
    job = running(Started(), Want(phase="quantize"), Release(), failure, Ended(1))
    assert job.failure is failure
    assert job.state is State.DIED

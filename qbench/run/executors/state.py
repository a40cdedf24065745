"""States of a running job and the transitions between them."""

from __future__ import annotations

from enum import Enum

from qbench.errors import QbenchError


class State(Enum):
    """A job's state. Rounds are timed in slots between those of other jobs; a whole phase is timed alone."""

    COMPUTES = "computes"
    AWAITS_MACHINE = "awaits the machine for a phase"
    HAS_MACHINE = "has the machine for a phase"
    AWAITS_FIRST_SLOT = "awaits its first slot"
    HAS_SLOT = "has a slot"
    BETWEEN_SLOTS = "computes between its slots"
    AWAITS_SLOT = "awaits its next slot"
    ROUNDS_OVER = "computes after its rounds"
    AWAITS_MACHINE_AFTER = "awaits the machine for a phase after its rounds"
    HAS_MACHINE_AFTER = "has the machine for a phase after its rounds"
    FINISHED = "has done its work"
    FAILED = "has failed"
    ENDED = "ended after its work"
    DIED = "ended without its work"


class Step(Enum):
    """Cause of a change of state."""

    WANT_MACHINE = "asks for the machine"
    WANT_SLOT = "asks for a slot"
    GRANT = "is granted the machine"
    RELEASE = "releases the machine"
    ROUNDS_OVER = "ends its rounds"
    DONE = "says that it is done"
    FAIL = "fails"
    END = "ends"


class TransitionError(QbenchError):
    """A step that the job's state does not allow."""

    def __init__(self, state: State, step: Step) -> None:
        super().__init__(f"a job that {state.value} cannot be one that {step.value}")


_LIVE: dict[tuple[State, Step], State] = {
    (State.COMPUTES, Step.WANT_MACHINE): State.AWAITS_MACHINE,
    (State.AWAITS_MACHINE, Step.GRANT): State.HAS_MACHINE,
    (State.HAS_MACHINE, Step.RELEASE): State.COMPUTES,
    (State.COMPUTES, Step.WANT_SLOT): State.AWAITS_FIRST_SLOT,
    (State.AWAITS_FIRST_SLOT, Step.GRANT): State.HAS_SLOT,
    (State.HAS_SLOT, Step.RELEASE): State.BETWEEN_SLOTS,
    (State.BETWEEN_SLOTS, Step.WANT_SLOT): State.AWAITS_SLOT,
    (State.AWAITS_SLOT, Step.GRANT): State.HAS_SLOT,
    (State.COMPUTES, Step.ROUNDS_OVER): State.ROUNDS_OVER,
    (State.BETWEEN_SLOTS, Step.ROUNDS_OVER): State.ROUNDS_OVER,
    (State.ROUNDS_OVER, Step.ROUNDS_OVER): State.ROUNDS_OVER,
    (State.ROUNDS_OVER, Step.WANT_SLOT): State.AWAITS_FIRST_SLOT,
    (State.ROUNDS_OVER, Step.WANT_MACHINE): State.AWAITS_MACHINE_AFTER,
    (State.AWAITS_MACHINE_AFTER, Step.GRANT): State.HAS_MACHINE_AFTER,
    (State.HAS_MACHINE_AFTER, Step.RELEASE): State.ROUNDS_OVER,
    (State.COMPUTES, Step.DONE): State.FINISHED,
    (State.BETWEEN_SLOTS, Step.DONE): State.FINISHED,
    (State.ROUNDS_OVER, Step.DONE): State.FINISHED,
}
OVER = frozenset({State.ENDED, State.DIED})
WAITING = frozenset(state for state, step in _LIVE if step is Step.GRANT)
"""The job stands still until it is granted the machine."""
BEFORE_ROUNDS_END = frozenset(
    {
        State.COMPUTES, State.AWAITS_MACHINE, State.HAS_MACHINE, State.AWAITS_FIRST_SLOT, State.HAS_SLOT,
        State.BETWEEN_SLOTS, State.AWAITS_SLOT,
    }
)  # fmt: skip
"""The job may still have rounds to come."""
BUSY = frozenset(
    {
        State.AWAITS_MACHINE, State.HAS_MACHINE, State.HAS_SLOT, State.BETWEEN_SLOTS, State.AWAITS_SLOT,
        State.AWAITS_MACHINE_AFTER, State.HAS_MACHINE_AFTER,
    }
)  # fmt: skip
"""The job has the machine for itself, or others keep still until it has."""


def _transitions() -> dict[tuple[State, Step], State]:
    """Any job may fail until it has said its last word, and end at any time, once."""
    live = frozenset(State) - OVER - {State.FINISHED, State.FAILED}
    fails = {(state, Step.FAIL): State.FAILED for state in live}
    ends = {(state, Step.END): State.DIED for state in (*live, State.FAILED)}
    return {**_LIVE, **fails, **ends, (State.FINISHED, Step.END): State.ENDED}


TRANSITIONS = _transitions()


def after(state: State, step: Step) -> State:
    """The next state; TransitionError where the step is not allowed."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise TransitionError(state, step) from None

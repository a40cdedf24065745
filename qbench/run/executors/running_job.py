"""`RunningJob`: a job from its start to its end, with one state and everything that its worker has said."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from qbench.json_object import JsonObject
from qbench.run.executors.executor import Ended, Event, Job
from qbench.run.executors.state import BUSY, OVER, WAITING, State, Step, TransitionError, after
from qbench.run.worker.events import (
    Done,
    Failure,
    Malformed,
    MemoryNeeds,
    Part,
    Phase,
    Release,
    RoundsOver,
    Started,
    Want,
)


@dataclass(eq=False)
class RunningJob:
    """A job, its state and what was said of it so far."""

    job: Job
    state: State = State.COMPUTES
    stage: int | None = None
    """Progress of its rounds while it waits for a slot."""
    phase: str = "start"
    parts: JsonObject = field(default_factory=dict)
    """Pieces of the record by key, as JSON values."""
    needs: dict[str, int | None] = field(default_factory=dict)
    """Bytes that it took until its rounds; see `memory_admission.py`."""
    failure: Failure | None = None
    ending: Ended | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def waits(self) -> bool:
        """True while it stands still until it is granted the machine."""
        return self.state in WAITING

    @property
    def busy(self) -> bool:
        """True while it has the machine for itself, or others keep still until it has."""
        return self.state in BUSY

    @property
    def over(self) -> bool:
        return self.state in OVER

    def advance(self, step: Step) -> None:
        """Changes the state; TransitionError where the step is not allowed."""
        self.state = after(self.state, step)

    def granted(self) -> None:
        self.advance(Step.GRANT)
        self.stage = None

    def note(self, event: Event) -> bool:
        """Takes in one event; False where the worker said what cannot be understood, and thereby failed."""
        if self.state is State.FAILED and not isinstance(event, Ended):
            return True  # nothing more is expected of it
        try:
            self._take(event)
        except TransitionError as error:
            self._fail(str(error))
            return False
        return not isinstance(event, Malformed)

    def _take(self, event: Event) -> None:
        match event:
            case Started():
                self.parts["phases"] = {"start": time.perf_counter() - self.started}
            case Phase():
                self.phase = event.name
            case Part():
                self._merge(event.key, event.value)
            case MemoryNeeds():
                self.needs = event.bytes
            case Want():
                self.advance(Step.WANT_MACHINE if event.stage is None else Step.WANT_SLOT)
                self.stage = event.stage
            case Release():
                self.advance(Step.RELEASE)
            case RoundsOver():
                self.advance(Step.ROUNDS_OVER)
            case Done():
                self.advance(Step.DONE)
            case Failure():
                self.advance(Step.FAIL)
                self.failure = event
            case Malformed():
                self._fail(event.why)
            case Ended():
                self.advance(Step.END)
                self.ending = event

    def _fail(self, why: str) -> None:
        self.advance(Step.FAIL)
        self.failure = Failure("failed", "ProtocolError", f"the worker's message is malformed: {why}")

    def _merge(self, key: str, value: Any) -> None:
        if isinstance(value, dict) and isinstance(self.parts.get(key, {}), dict):
            self.parts.setdefault(key, {}).update(value)
        else:
            self.parts[key] = value

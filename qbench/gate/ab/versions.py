"""`Version`: one of the two versions that a gate compares: its environment, its executor, its plan."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from qbench.cell import Cell
from qbench.errors import GateError, QbenchError, SuiteError
from qbench.fields import Rule
from qbench.gate.ab.install import Installed
from qbench.json_object import JsonObject
from qbench.run.executors.driver import Driver, run_alone
from qbench.run.executors.executor import Executor, Job
from qbench.run.executors.local.executor import LocalExecutor
from qbench.run.executors.running_job import RunningJob
from qbench.run.worker.events import Ready
from qbench.run.worker.messages import PROTOCOL, SINCE
from qbench.run.worker.requests import PlanSuite
from qbench.suite.positions import Document, read
from qbench.suite.spec import Suite

Role = Literal["baseline", "candidate"]
ROLES: tuple[Role, Role] = ("baseline", "candidate")
PLAN_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Entry:
    """A cell as one version plans it."""

    raw: JsonObject
    """The cell as its version sent it, and gets it back."""
    cell: Cell
    """The same as the running version reads it."""
    state: str
    reason: str | None
    """Reason of a skip."""


@dataclass(eq=False)
class Version:
    role: Role
    installed: Installed
    executor: Executor
    entries: list[Entry] = field(default_factory=list)
    environment: JsonObject = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)
    start_s: float = 0.0
    """Duration of its server's start."""
    driver: Driver = field(init=False)

    def __post_init__(self) -> None:
        self.driver = Driver(self.executor)

    @property
    def words(self) -> str:
        """`baseline main (0a1b2c3d4e5f)`."""
        return f"{self.role} {self.installed.version}"

    def restart(self) -> None:
        """Replaces the server: random effects of its process are drawn again for later workers."""
        self.executor.close()
        self.executor = _started(self.role, self.installed)
        self.driver = Driver(self.executor)

    def plan(self, suite: Suite, rules: Sequence[Rule]) -> None:
        """Fills `entries`; SuiteError where this version cannot plan the suite."""
        work = PlanSuite(text_without_gate(suite), suite.file, list(rules))
        said = _plan(self.executor, work, self.words)
        try:
            self.environment = said["environment"]
            self.made_from = dict(said["plan"]["made_from"])
            self.entries = [
                Entry(one["cell"], Cell.from_dict(one["cell"]), one["state"], one["reason"])
                for one in said["plan"]["cells"]
            ]
        except (KeyError, TypeError) as error:
            raise GateError(
                f"{self.words} plans cells that this version ({PROTOCOL}) cannot read: {error}; run the gate "
                "from the newer of the two versions"
            ) from error


@contextlib.contextmanager
def opened(role: Role, installed: Installed) -> Iterator[Version]:
    """The version with its server running; GateError where it does not start or speaks another protocol."""
    executor = _started(role, installed)
    version = Version(role, installed, executor, start_s=executor.facts.seconds)
    try:
        yield version
    finally:
        version.executor.close()


def _started(role: Role, installed: Installed) -> LocalExecutor:
    words = f"{role} {installed.version}"
    try:
        executor = LocalExecutor(installed.python)
    except QbenchError as error:
        last = str(error).strip().splitlines()[-1:]
        raise GateError(f"{words}: no qbench starts there that a gate can ask ({' '.join(last)})") from error
    try:
        check_facts(executor.facts, words, installed)
    except BaseException:
        executor.close()
        raise
    return executor


def check_facts(facts: Ready, words: str, installed: Installed) -> None:
    """GateError where the server's first message shows that it is not the one that was meant."""
    spoken = facts.protocol
    if spoken != PROTOCOL:
        older = spoken is None or spoken < PROTOCOL
        known = "none, as all versions before the gate" if spoken is None else spoken
        raise GateError(
            f"{words} speaks protocol {known}, and this version {PROTOCOL}: "
            + (
                f"it can be compared with versions from {SINCE} on"
                if older
                else "run the gate from that version, which is newer"
            )
        )
    folder = str(installed.folder.resolve()) if installed.folder else None
    if folder is not None and (facts.folder != folder or facts.strange_modules):
        found = ", ".join(facts.strange_modules[:3]) or facts.folder
        raise GateError(
            f"{words} lies in {folder}, but its interpreter finds {found}: "
            "is PYTHONPATH set to a checkout, or qbench not installed?"
        )


def text_without_gate(suite: Suite) -> str:
    """The suite's text without its section `gate`, which only the parent reads, and which the older of two
    versions may not know in full. Every other key keeps its line and column, for the messages of errors."""
    document = read(suite.text, suite.file)
    found = document.value
    if not isinstance(found, dict) or "gate" not in found:
        return suite.text
    rest = {key: value for key, value in found.items() if key != "gate"}
    blanked = _blanked(document)
    with contextlib.suppress(SuiteError):
        if read(blanked, suite.file).value == rest:
            return blanked
    return json.dumps(rest, ensure_ascii=False)  # JSON is YAML; an anchor stood in it, or it closes a brace


def _blanked(document: Document) -> str:
    """Spaces from the key `gate` to the next key of the suite."""
    tops = sorted(place for path, place in document.keys.items() if len(path) == 1)
    start = document.keys["gate",]
    end = next((place for place in tops if place > start), None)
    lines = re.split("(\r\n|[\n\r\x85\u2028\u2029])", document.text)  # each with its break after it
    starts = [0, *itertools.accumulate(map(len, lines))][::2]
    first = starts[start.line - 1] + start.column - 1
    last = starts[end.line - 1] + end.column - 1 if end else len(document.text)
    section = re.sub("[^\n\r\x85\u2028\u2029]", " ", document.text[first:last])
    return document.text[:first] + section + document.text[last:]


def _plan(executor: Executor, work: PlanSuite, words: str) -> JsonObject:
    """The parts of a version's plan; SuiteError or GateError where it fails."""
    running = RunningJob(Job(work, PLAN_TIMEOUT_S))
    run_alone(executor, running)
    failure, ended = running.failure, running.ending
    if failure is not None:
        kind = SuiteError if failure.type == "SuiteError" else GateError
        raise kind(f"{words} cannot plan the suite: {failure.message}")
    if ended is None or ended.exit_code != 0:
        code, log = (ended.exit_code, ended.log[-500:]) if ended else (None, "")
        raise GateError(f"{words}: plan ended with {code}: {log}")
    return running.parts

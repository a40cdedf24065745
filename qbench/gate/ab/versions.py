"""`Side`: one of the two versions that a gate compares: its environment, its warm server, its plan."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qbench.cell import Cell
from qbench.errors import GateError, QbenchError, SuiteError
from qbench.fields import Rule
from qbench.gate.ab.install import Installed
from qbench.run.executors.local.pool import Job, Pool
from qbench.run.worker.protocol import PROTOCOL, SINCE
from qbench.suite.positions import Document, read
from qbench.suite.spec import Suite

Name = Literal["baseline", "candidate"]
SIDES: tuple[Name, Name] = ("baseline", "candidate")
PLAN_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Entry:
    """A cell as one side plans it."""

    raw: dict[str, Any]
    """The cell in the side's own words, which are what its server gets."""
    cell: Cell
    """The same as this version reads it."""
    state: str
    reason: str | None
    """Why it is skipped."""


@dataclass(eq=False)
class Side:
    name: Name
    installed: Installed
    pool: Pool
    entries: list[Entry] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """`baseline main (0a1b2c3d4e5f)`."""
        return f"{self.name} {self.installed.version}"

    def restart(self) -> None:
        """Another server: its workers share none of the luck that those of this one had."""
        self.pool.close()
        self.pool = _started(self.name, self.installed)

    def plan(self, suite: Suite, rules: Sequence[Rule]) -> None:
        """Fills `entries`; SuiteError where this side cannot plan the suite."""
        asked = {"kind": "plan", "text": text_without_gate(suite), "file": suite.file, "rules": list(rules)}
        said = ask(self.pool, asked, self.words)
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
def opened(name: Name, installed: Installed) -> Iterator[Side]:
    """The side with its server running; GateError where it does not start or speaks another protocol."""
    side = Side(name, installed, _started(name, installed))
    try:
        yield side
    finally:
        side.pool.close()


def _started(name: Name, installed: Installed) -> Pool:
    words = f"{name} {installed.version}"
    try:
        pool = Pool(installed.python)
    except QbenchError as error:
        last = str(error).strip().splitlines()[-1:]
        raise GateError(f"{words}: no qbench starts there that a gate can ask ({' '.join(last)})") from error
    try:
        check_facts(pool.facts, words, installed)
    except BaseException:
        pool.close()
        raise
    return pool


def check_facts(facts: Mapping[str, Any], words: str, installed: Installed) -> None:
    """GateError where the server's first word says that it is not the one that was meant."""
    spoken = facts.get("protocol")
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
    if folder is not None and (facts["folder"] != folder or facts["strange_modules"]):
        found = ", ".join(facts["strange_modules"][:3]) or facts["folder"]
        raise GateError(
            f"{words} lies in {folder}, but its interpreter finds {found}: "
            "is PYTHONPATH set to a checkout, or qbench not installed?"
        )


def text_without_gate(suite: Suite) -> str:
    """The suite's text without its section `gate`, which is the parent's matter, and which the older of two
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


def ask(pool: Pool, message: dict[str, Any], words: str) -> dict[str, Any]:
    """One job from its start to its end; what it said, by key. SuiteError or GateError where it fails."""
    job = pool.start(message, PLAN_TIMEOUT_S)
    parts: dict[str, Any] = {}
    while job.exit_code is None:
        pool.wait()
        _hear(job, parts, words)
    _hear(job, parts, words)
    if job.exit_code != 0:
        raise GateError(f"{words}: {message['kind']} ended with {job.exit_code}: {job.log_tail(500)}")
    return parts


def _hear(job: Job, parts: dict[str, Any], words: str) -> None:
    while job.events:
        event = job.events.popleft()
        if event["event"] == "part":
            parts[event["key"]] = event["value"]
        elif event["event"] == "error":
            kind = SuiteError if event["type"] == "SuiteError" else GateError
            raise kind(f"{words} cannot plan the suite: {event['message']}")

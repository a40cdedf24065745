"""Differences between the environments of two versions on one machine, and those that forbid a comparison.

The machine and its variables are the same. The software that computes (torch, its libraries, Python, the
threads) must be so too: else its effect would count as that of the version under test. Other differences are
reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qbench.gate.ab.versions import ROLES, Role, Version
from qbench.results.compare.comparable import check_accepted, compared, refusal
from qbench.results.store.manifest_facts import differing, facts
from qbench.results.store.record import Record

ALSO = frozenset({"python"})
"""Deciding for what is timed, beside what is for the rest: the interpreter runs between the kernels."""
INHERITED = "variables."
"""Both servers inherit those of the gate: where they differ a version sets them itself, and is tested so."""
OWN = ("git", "qbench")
"""Facts of what is under test itself."""


@dataclass(frozen=True)
class Differences:
    """A line each, `key: A: …; B: …`."""

    deciding: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.deciding, *self.accepted, *self.others)

    @property
    def refusal(self) -> str | None:
        """Reason that the two are not compared, with the way out."""
        return refusal(self.deciding, "run in", "Install the same in both")


def differences(
    versions: Mapping[Role, Version],
    accept: Iterable[str],
    *,
    gpu: bool,
    records: Mapping[Role, Iterable[Record]] | None = None,
) -> Differences:
    """`records`: where they are there already, also the threads that they ran with.

    GateError where a fact is accepted that neither version has.
    """
    ran = records or {}
    known = [facts({"environment": versions[name].environment}, ran.get(name, ())) for name in ROLES]
    allowed = tuple(accept)
    check_accepted(allowed, *known)
    left, taken = (
        [line for line in found if not _key(line).startswith(INHERITED)]
        for found in compared(*known, timed=False, gpu=gpu, accept=allowed)
    )
    lines = [line for line in differing(*known) if not _key(line).startswith(OWN)]
    more = [line for line in lines if _key(line) in ALSO]
    left += [line for line in more if _key(line) not in allowed]
    taken += [line for line in more if _key(line) in allowed]
    keys = {_key(line) for line in (*left, *taken)}
    return Differences(tuple(left), tuple(taken), tuple(line for line in lines if _key(line) not in keys))


def _key(line: str) -> str:
    return line.partition(": ")[0]

"""All pictures of a report, packed by group, so that a page with many of them stays light."""

from __future__ import annotations

from dataclasses import dataclass, field

from qbench.report.charts import bars, bits, costs, heat, memory, multiples, power, times
from qbench.report.charts.chart import Json, Picture, Row, Undrawn
from qbench.report.charts.collect import Gathered
from qbench.report.charts.group import Group, group_rows
from qbench.report.html.compressed_payload import pack

SUBJECTS = (
    costs.costs, bars.bars, bits.bits, times.times, memory.memory, heat.layers, power.power,
)  # fmt: skip
"""What is drawn of a group, in the page's order."""
GROUPS = 80
"""Groups whose pictures a page carries."""


@dataclass(frozen=True)
class Chapter:
    """The pictures of one group, or those of all groups together."""

    title: str
    packed: str
    """Of `{"pictures": […], "undrawn": […]}`."""


@dataclass(frozen=True)
class Album:
    chapters: list[Chapter] = field(default_factory=list)
    note: str = ""
    """What was left out of the page, and why."""

    def data(self) -> list[Json]:
        """For the page's script."""
        return [{"title": chapter.title, "packed": chapter.packed} for chapter in self.chapters]


def album(rows: list[Row], gathered: Gathered) -> Album:
    """Every picture that the rows (of the frame, as dicts, nulls as None) have something for.

    Nothing where no two cells have finished: a single number is no picture.
    """
    groups = group_rows(rows, gathered)
    if sum(len(group.rows) for group in groups) < 2:
        return Album()
    able = [group for group in groups if len(group.rows) > 1]
    chapters = [
        _chapter(group.title, [one for subject in SUBJECTS for one in subject(group)])
        for group in able[:GROUPS]
    ]
    together = multiples.multiples(groups)
    if any(isinstance(one, Picture) for one in together):
        chapters.append(_chapter(multiples.SECTION, together))
    return Album([chapter for chapter in chapters if chapter is not None], _left_out(groups, able))


def _left_out(groups: list[Group], able: list[Group]) -> str:
    said = []
    if len(able) > GROUPS:
        said.append(f"{len(able) - GROUPS} more have no pictures here; make a report of fewer runs for them.")
    if len(groups) > len(able):
        count = len(groups) - len(able)
        said.append(
            f"{count} model{'s' if count > 1 else ''} with a single finished cell: a point is no picture."
        )
    return " ".join(said)


def _chapter(title: str, drawn: list[Picture | Undrawn]) -> Chapter | None:
    pictures = [one.json() for one in drawn if isinstance(one, Picture)]
    if not pictures:
        return None
    undrawn = [one.json() for one in drawn if isinstance(one, Undrawn)]
    return Chapter(title, pack({"pictures": pictures, "undrawn": undrawn}))

"""All charts of a report, compressed by group, so that a page with many of them stays small."""

from __future__ import annotations

from dataclasses import dataclass, field

from qbench.report.charts import bars, bits, costs, heat, memory, multiples, power, times
from qbench.report.charts.chart import Chart, Json, Row, Undrawn
from qbench.report.charts.collect import Collected
from qbench.report.charts.group import Group, group_rows
from qbench.report.html.compressed_payload import pack

SUBJECTS = (
    costs.costs, bars.bars, bits.bits, times.times, memory.memory, heat.layers, power.power,
)  # fmt: skip
"""Functions that draw a group, in the page's order."""
GROUPS = 80
"""Groups whose charts a page carries."""


@dataclass(frozen=True)
class Chapter:
    """The charts of one group, or those of all groups together."""

    title: str
    payload: str
    """`{"pictures": […], "undrawn": […]}`, compressed."""


@dataclass(frozen=True)
class ChartSet:
    """The charts of a page."""

    chapters: list[Chapter] = field(default_factory=list)
    note: str = ""
    """Names what was left out of the page, and why."""

    def data(self) -> list[Json]:
        """The chapters as the page's script reads them."""
        return [{"title": chapter.title, "packed": chapter.payload} for chapter in self.chapters]


def chart_set(rows: list[Row], collected: Collected) -> ChartSet:
    """Every chart that these rows (of the frame, as dicts, nulls as None) have data for.

    None where no two cells have finished: a chart needs two numbers.
    """
    groups = group_rows(rows, collected)
    if sum(len(group.rows) for group in groups) < 2:
        return ChartSet()
    able = [group for group in groups if len(group.rows) > 1]
    chapters = [
        _chapter(group.title, [one for subject in SUBJECTS for one in subject(group)])
        for group in able[:GROUPS]
    ]
    together = multiples.multiples(groups)
    if any(isinstance(one, Chart) for one in together):
        chapters.append(_chapter(multiples.SECTION, together))
    return ChartSet([chapter for chapter in chapters if chapter is not None], _left_out(groups, able))


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


def _chapter(title: str, drawn: list[Chart | Undrawn]) -> Chapter | None:
    pictures = [one.json() for one in drawn if isinstance(one, Chart)]
    if not pictures:
        return None
    undrawn = [one.json() for one in drawn if isinstance(one, Undrawn)]
    return Chapter(title, pack({"pictures": pictures, "undrawn": undrawn}))

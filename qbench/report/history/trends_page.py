"""The trends page: a small picture of every series, with its changes and gaps in a table behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qbench.errors import ResultsError
from qbench.json_object import JsonObject
from qbench.report.history.changes import ChangeWords, GapWords, Sense, change_words, date, gap_words
from qbench.report.history.figures import figure, span_of
from qbench.report.history.headline import Listed, listed_changes, of_several_suites, prefixed, sentence
from qbench.report.html.page import Plotlyjs, render_page, write_page
from qbench.report.view.digits import Scale, scale_for, significant
from qbench.results.history.history import is_deterministic
from qbench.results.history.series import Series
from qbench.results.table.columns import columns, usual
from qbench.results.table.metrics import METRICS

MOST_LISTED = 100
"""Most changes in the list at the top; the others stand behind their pictures."""


@dataclass(frozen=True)
class SeriesView:
    """TrendsView of one series."""

    title: str
    latest: str
    changes: list[ChangeWords]
    gaps: list[GapWords]
    left: str
    """The first run that no longer had the cell."""
    still: bool
    """True for a deterministic number that is the same in every run without a gap."""
    figure: JsonObject = field(repr=False)

    @property
    def sense(self) -> Sense | None:
        """Direction of the newest change that is not one of the environment."""
        return next((one.sense for one in self.changes if one.sense != "environment"), None)

    @property
    def summary(self) -> str:
        """`2 changes, 1 new environment, 3 gaps`: the contents of the table behind the picture."""
        environments = sum(one.sense == "environment" for one in self.changes)
        counts = {
            "change": len(self.changes) - environments,
            "new environment": environments,
            "gap": len(self.gaps),
        }
        said = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
        return ", ".join([*said, *(["no longer in the suite"] if self.left else [])])


@dataclass(frozen=True)
class MetricView:
    name: str
    title: str
    note: str
    pictures: list[SeriesView]
    """Pictures, those that never change last."""

    @property
    def moving(self) -> int:
        return sum(not small.still for small in self.pictures)


@dataclass(frozen=True)
class TrendsView:
    title: str
    sentence: str
    facts: dict[str, str]
    listed: list[Listed]
    more: int
    """Number of changes that are not listed."""
    metrics: list[MetricView]
    problems: list[str]


def write_trends(
    found: Sequence[Series],
    output: str | Path,
    *,
    problems: Sequence[str] = (),
    plotlyjs: Plotlyjs = "inline",
) -> Path:
    """Writes the page of these series and returns where.

    Of several metrics only those that the leaderboard shows are drawn. ResultsError where there is no series.
    """
    if not found:
        raise ResultsError("nothing to draw: no run has measured any of these metrics")
    return write_page(Path(output), render_trends(shown(found), problems, plotlyjs=plotlyjs), plotlyjs)


def shown(found: Sequence[Series]) -> list[Series]:
    """Series of the one metric, or of several those of the leaderboard, in its order."""
    names = {series.metric for series in found}
    order = (
        list(names) if len(names) == 1 else [column.name for column in usual("page") if column.name in names]
    )
    order = order or sorted(names)
    return [series for name in order for series in found if series.metric == name]


def render_trends(
    found: Sequence[Series], problems: Sequence[str] = (), *, plotlyjs: Plotlyjs = "inline"
) -> str:
    view = build_trends(found, problems)
    return render_page(
        "trends.html.j2", {"view": view, "title": view.title}, scripts=["trends.js"],
        data={"figures": [[small.figure for small in metric.pictures] for metric in view.metrics]},
        drawn=True, plotlyjs=plotlyjs,
    )  # fmt: skip


def build_trends(found: Sequence[Series], problems: Sequence[str] = ()) -> TrendsView:
    """TrendsView of the page as plain data; texts may come from records, the template escapes them."""
    by_metric: dict[str, list[Series]] = defaultdict(list)
    for series in found:
        by_metric[series.metric].append(series)
    listed = listed_changes(found)
    suites = sorted({series.suite for series in found})
    return TrendsView(
        title=f"Trends of {', '.join(suites)}", sentence=sentence(found), facts=_facts(found),
        listed=listed[:MOST_LISTED], more=max(0, len(listed) - MOST_LISTED),
        metrics=[_metric(name, members, found) for name, members in by_metric.items()],
        problems=list(problems),
    )  # fmt: skip


def _metric(name: str, members: Sequence[Series], found: Sequence[Series]) -> MetricView:
    several = of_several_suites(found)
    scale = scale_for([series.measured[-1].value or 0.0 for series in members], columns()[name].unit)
    span = span_of(found)
    way = {"lower": "↓ lower is better", "higher": "↑ higher is better", None: ""}[columns()[name].direction]
    about = METRICS[name].description if name in METRICS else ""
    return MetricView(
        name=name,
        title=columns()[name].title if columns()[name].display else name,
        note=" · ".join(text for text in (scale.unit, way, about) if text),
        pictures=sorted(
            (_small(series, scale, span, several) for series in members), key=lambda small: small.still
        ),
    )


def _small(series: Series, scale: Scale, span: tuple[str, str], several: bool) -> SeriesView:
    latest = (series.measured[-1].value or 0.0) / scale.factor
    return SeriesView(
        title=prefixed(series.suite, series.cell, several),
        latest=f"{significant(latest, 4)} {scale.unit}".strip(),
        changes=change_words(series)[::-1],
        gaps=gap_words(series)[::-1],
        left=series.left.name if series.left else "",
        still=is_deterministic(series.metric) and len({point.value for point in series.points}) == 1,
        figure=figure(series, scale, span),
    )


def _facts(found: Sequence[Series]) -> dict[str, str]:
    points = [point for series in found for point in series.points]
    runs = {(point.run.suite, point.run.name) for point in points}
    dates = sorted({date(point) for point in points})
    commits = {point.run.commit for point in points if point.run.commit}
    newest = max(points, key=lambda point: point.run.name).run
    machine = [newest.environment.get(key) for key in ("cpu", "gpu 0") if newest.environment.get(key)]
    facts = {
        "Runs": str(len(runs)),
        "From": f"{dates[0]} to {dates[-1]}",
        "Commits": str(len(commits)) if commits else "",
        "Newest": newest.name,
        "Machine": " + ".join(str(one) for one in machine),
    }
    return {name: value for name, value in facts.items() if value}

"""`qbench history` in a terminal: a line for each series, its changes and gaps beside it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from qbench.report.history.changes import ChangeWords, GapWords, change_words, gap_words
from qbench.report.history.headline import of_several_suites, prefixed
from qbench.report.text.sanitize import plain
from qbench.report.view.digits import scale_for, significant
from qbench.results.history.series import RunPoint, Series
from qbench.results.table.columns import columns

BARS = "▁▂▃▄▅▆▇█"
GAP = "·"
SPARKLINE_RUNS = 40
"""Most runs that the sparkline shows."""
_COLOURS = {"worse": "red", "better": "green", "changed": "yellow", "environment": "bright_black"}
_REASON = 60


def drawn(found: Sequence[Series]) -> Table:
    """The series of one metric as a rich table; texts from records are literal, no markup."""
    metric = found[0].metric
    latest = [series.measured[-1].value or 0.0 for series in found]
    scale = scale_for(latest, columns()[metric].unit)
    table = Table(
        title=Text(f"{metric}{f' ({scale.unit})' if scale.unit else ''}", style="bold"),
        box=None, pad_edge=False, title_justify="left", header_style="bold",
    )  # fmt: skip
    several = of_several_suites(found)
    table.add_column("Cell", overflow="fold")
    runs = min(SPARKLINE_RUNS, max(len(series.points) for series in found))
    table.add_column("Last run" if runs == 1 else f"Last {runs} runs", no_wrap=True)
    table.add_column("Latest", justify="right", no_wrap=True)
    table.add_column("Changes and gaps", overflow="fold")
    for series, value in zip(found, latest, strict=True):
        table.add_row(
            Text(plain(prefixed(series.suite, series.cell, several))),
            Text(sparkline(series.points)),
            Text(significant(value / scale.factor, 4)),
            _events(series),
        )
    return table


def sparkline(points: Sequence[RunPoint], runs: int = SPARKLINE_RUNS) -> str:
    """Bars from the smallest to the largest value of the last runs, `·` for a gap; level if all are equal."""
    values = [point.value for point in points[-runs:]]
    known = [value for value in values if value is not None]
    if not known:
        return GAP * len(values)
    low, span = min(known), max(known) - min(known)
    if span <= 1e-9 * max(abs(low), abs(max(known))):
        return "".join(GAP if value is None else BARS[3] for value in values)
    return "".join(GAP if value is None else BARS[min(7, int(8 * (value - low) / span))] for value in values)


def _events(series: Series) -> Text:
    lines = [_change(change) for change in change_words(series)] + [_gap(gap) for gap in gap_words(series)]
    if series.left is not None:
        lines.append(Text(f"not measured since {series.left.name}", style="yellow"))
    return Text("\n").join(lines)


def _change(change: ChangeWords) -> Text:
    said = Text.assemble((f"{change.date} {change.text}", _COLOURS[change.sense]))
    if change.sense == "environment":
        return said.append(f": {'; '.join(change.facts)}", style="bright_black")
    return said.append(f"  {change.commits}")


def _gap(gap: GapWords) -> Text:
    runs = f" ({gap.count} runs)" if gap.count > 1 else ""
    return Text(f"{gap.dates}{runs} {plain(gap.reason, _REASON)}", style="bright_black")

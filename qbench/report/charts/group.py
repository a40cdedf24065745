"""Groups of cells that one chart compares: one run, model, dtype, device, runtime and protocol."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from qbench.report.charts.chart import MOST, cut, words
from qbench.report.charts.collect import Collected
from qbench.report.charts.marks import Marks
from qbench.report.view.context import compared
from qbench.report.view.names import name_of
from qbench.results.columns.column import Row

_LONG_NAME = 200
_BITS = re.compile(r"\d+-bit")


@dataclass
class Group:
    """Cells that one chart compares."""

    title: str
    rows: list[Row]
    """Finished cells, the base first, then by bits."""
    marks: Marks
    collected: Collected

    @cached_property
    def protocols(self) -> str:
        """The perplexity protocol, named by every chart of quality."""
        found = sorted({row["perplexity_protocol"] for row in self.rows if row["perplexity_protocol"]})
        return cut("; ".join(found), 2 * _LONG_NAME) or "no perplexity protocol"

    @cached_property
    def shown(self) -> list[Row]:
        """Cells of charts with a line or a bar for each: at most `MOST`, those that lose least."""
        return losing_least(self.rows, MOST)

    @property
    def cut_note(self) -> str:
        """End of a note where cells were left out; else empty."""
        left = len(self.rows) - len(self.shown)
        return f"; the {MOST} cells that lose least, {left} more stand in the leaderboard" if left else ""

    def name(self, row: Row) -> str:
        """The cell's label, with its repetition where several cells have that label; plain text."""
        label = cut(name_of(row), _LONG_NAME)
        return f"{label} #{row['repetition'] + 1}" if self._labels[row["label"]] > 1 else label

    def tick(self, row: Row, longest: int = 36) -> str:
        """The label as plotly reads it, short enough for an axis."""
        label = cut(name_of(row), _LONG_NAME)
        again = f" #{row['repetition'] + 1}" if self._labels[row["label"]] > 1 else ""
        return words(f"{self._short.get(label, label)}{again}", longest)

    @cached_property
    def _short(self) -> dict[str, str]:
        return short_labels({cut(name_of(row), _LONG_NAME): row["method"] for row in self.rows})

    @cached_property
    def _labels(self) -> Counter[str]:
        return Counter(row["label"] for row in self.rows)


def losing_least(rows: list[Row], most: int) -> list[Row]:
    """The base and those that lose least, at most so many, in their order."""
    least = {id(row) for row in sorted(rows, key=_loss)[:most]}
    return [row for row in rows if id(row) in least]


def group_rows(rows: list[Row], collected: Collected) -> list[Group]:
    """The finished cells of each group that the page compares."""
    marks = Marks(row["method"] for row in rows)
    found = [(title, [row for row in members if row["status"] == "ok"]) for title, members in compared(rows)]
    return [
        Group(title, sorted(members, key=_order), marks, collected) for title, members in found if members
    ]


def _order(row: Row) -> tuple[bool, float, str]:
    return (row["method"] != "none", -(row["bits_per_weight"] or 0.0), row["label"] or "")


def _loss(row: Row) -> tuple[bool, bool, float]:
    """The base, then by loss; cells without one last."""
    loss = row["perplexity_ratio"] or row["perplexity"]
    return (row["method"] != "none", loss is None, loss or 0.0)


def short_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Maps each label to a shorter one that is still unique; `labels` maps each to its method.

    `gptq 4-bit g64` becomes `gptq 4-bit` where every gptq has groups of 64. Where a short one would not be
    the only one of its kind, the label stays.
    """
    by_method: dict[str, list[str]] = defaultdict(list)
    for label, method in labels.items():
        by_method[method].append(label)
    short = {label: _short(label, by_method[method]) for label, method in labels.items()}
    count = Counter(short.values())
    return {label: found if count[found] == 1 else label for label, found in short.items()}


def _short(label: str, siblings: list[str]) -> str:
    if len(siblings) == 1 or not label.split():
        return label
    first, *rest = label.split()
    shared = set.intersection(*(set(sibling.split()[1:]) for sibling in siblings))
    return " ".join([first, *(word for word in rest if word not in shared or _BITS.fullmatch(word))])

"""`ComparisonView`: a comparison of two sources as plain data, changes first.

Deterministic numbers are equal or not, and then better or worse as far as `verdict.py` can tell. Timed
numbers have the range of ratios that single rounds allow: the two runs were not interleaved, so that a ratio
speaks of two moments of a machine as well as of the change, and no verdict says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qbench.report.compare.verdict import percent, verdict_on
from qbench.report.view.digits import scale_for, significant
from qbench.report.view.names import short
from qbench.results.compare.compare import Source
from qbench.results.compare.comparison import Comparison, Difference, Pair, Timed
from qbench.results.table.metrics import METRICS

TIMED = sorted(
    (one.name for one in METRICS.values() if one.compared), key=lambda name: METRICS[name].compared
)
"""Timed metrics that are shown, by rank; the JSON holds all of them."""
NOT_INTERLEAVED = (
    "The two runs did not take turns: a ratio of times holds what the machine did in between as well as what "
    "was changed."
)
QUIET = 1.05
"""A ratio of two single numbers up to which they count as about the same."""
_MOST_DIGITS = 17
_FULL = 6
"""Significant digits of numbers that no metric describes."""


@dataclass(frozen=True)
class Line:
    """One number of one cell on both sides."""

    cell_id: str
    model: str
    label: str
    """The whole label of the suite."""
    method: str
    """The label's short name."""
    dtype: str
    device: str
    metric: str
    what: str
    """The metric's description."""
    a: str
    b: str
    unit: str
    change: str
    """B over A less one, or B over A."""
    range: str
    """Interval of the change, or range of it."""
    verdict: str
    changed: bool
    sort: float
    """Size of the change."""

    @property
    def cell(self) -> tuple[str, ...]:
        return self.model, self.label, self.dtype, self.device, self.cell_id

    @property
    def way(self) -> str:
        """`worse`, `better` or nothing."""
        way = self.verdict.partition(", ")[0]
        return way if way in ("worse", "better") else ""

    @property
    def quiet(self) -> bool:
        """True for a timed number that changed so little that it is not worth a row."""
        return not self.changed and (bool(self.range) or self.sort <= QUIET)


@dataclass(frozen=True)
class Fact:
    """One fact of machine or software on both sides."""

    name: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        return self.a != self.b


@dataclass(frozen=True)
class Side:
    name: str
    folder: str
    runs: str
    cells: str
    """Numbers of cells by status."""


@dataclass(frozen=True)
class ComparisonView:
    sides: tuple[Side, Side]
    alike: bool
    """True where something was compared, all deterministic numbers are equal, and no cell is good on one side
    only."""
    compared: bool
    """True where any number was compared."""
    times: str
    """Summary of the timed numbers; empty where there are none."""
    differences: list[Line]
    """Lines of numbers that ought to be equal, by the largest change of their cells."""
    timed: list[Line]
    """Lines of timed numbers, first those in which no round of one side reached the other's."""
    lacking: list[tuple[str, str]]
    """(where, cell and reason) of what was not compared."""
    equal: list[str]
    """Cells with nothing but equal numbers."""
    environment: list[Fact]
    """Differing ones first."""
    varying: list[str]
    """Names among model, dtype and device that differ between lines."""
    constant: dict[str, str]
    """Title → value of the others."""


def build_comparison(found: Comparison, a: Source, b: Source) -> ComparisonView:
    differences = differing_lines(found)
    timed = [_timed(pair, one) for pair in found.pairs for one in pair.timed if one.metric in TIMED]
    where = {name: {getattr(pair, name) for pair in found.pairs} for name in ("model", "dtype", "device")}
    compared = any(pair.compared for pair in found.pairs)
    lacking = [(end.where, shortened(line)) for end, line in zip(found.ends, found.not_ok, strict=True)]
    lacking += [("only in A", shortened(line)) for line in found.only_a]
    lacking += [("only in B", shortened(line)) for line in found.only_b]
    return ComparisonView(
        sides=(_side("A", a), _side("B", b)),
        alike=compared and not found.one_sided and all(pair.identical for pair in found.pairs),
        compared=compared, times=_together(timed), differences=differences,
        timed=sorted(timed, key=lambda line: (not line.changed, -line.sort)), lacking=lacking,
        equal=[_name(pair) for pair in found.pairs if pair.identical and pair.compared],
        environment=_environment(a, b), varying=[name for name, values in where.items() if len(values) > 1],
        constant={name.capitalize(): values.pop() for name, values in where.items() if len(values) == 1},
    )  # fmt: skip


def differing_lines(found: Comparison) -> list[Line]:
    """Lines of unequal deterministic numbers: by the largest change of a cell, metrics before raw values."""
    return _by_cell([_difference(pair, one) for pair in found.pairs for one in pair.differences])


def shortened(line: str) -> str:
    """A cell in words with its short name; what comes after a colon is a reason and stays as it is."""
    cell, colon, reason = line.partition(": ")
    return f"{short(cell)}{colon}{reason}"


def _by_cell(lines: Sequence[Line]) -> list[Line]:
    largest: dict[tuple[str, ...], float] = {}
    for line in lines:
        largest[line.cell] = max(line.sort, largest.get(line.cell, 0.0))
    ranked = sorted(lines, key=lambda line: (line.metric not in METRICS, -line.sort))
    return sorted(ranked, key=lambda line: (-largest[line.cell], line.cell))


def _side(name: str, source: Source) -> Side:
    counts = Counter(record.status for record in source.records)
    cells = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    return Side(name, source.folder.resolve().name, ", ".join(source.runs), cells)


def _difference(pair: Pair, one: Difference) -> Line:
    metric = METRICS.get(one.metric)
    texts, unit = _apart(one.a, one.b, metric.unit if metric else "", metric.digits if metric else _FULL)
    interval, verdict = verdict_on(pair, one)
    relative = one.b / one.a - 1 if one.a and one.b is not None else None
    change = "" if relative is None else percent(relative)
    sort = abs(relative) if relative is not None else float("inf")
    what = metric.description if metric else "the first entry that differs"
    return Line(*_where(pair), one.metric, what, *texts, unit, change, interval, verdict, True, sort)


def _timed(pair: Pair, one: Timed) -> Line:
    metric = METRICS[one.metric]
    texts, unit = _apart(one.a, one.b, metric.unit, 3)
    interval, verdict, changed = "", "one number a side: no spread to judge by", False
    if one.low is not None and one.high is not None:
        interval = f"{significant(one.low, 3)} to {significant(one.high, 3)}"
        changed = one.low > 1 or one.high < 1
        more, less = ("slower", "faster") if metric.unit == "s" else ("higher", "lower")
        verdict = f"every round of B {more if one.low > 1 else less}" if changed else "rounds overlap"
    sort = max(one.ratio, 1 / one.ratio) if one.ratio else float("inf")
    ratio = f"× {significant(one.ratio, 3)}"
    what = metric.description
    return Line(*_where(pair), one.metric, what, *texts, unit, ratio, interval, verdict, changed, sort)


def _where(pair: Pair) -> tuple[str, str, str, str, str, str]:
    return pair.cell_id, pair.model, pair.label, short(pair.label), pair.dtype, pair.device


def _apart(a: float | None, b: float | None, unit: str, digits: int) -> tuple[tuple[str, str], str]:
    """Both in one unit, with as many digits as it takes for two that differ to look so."""
    scale = scale_for([value for value in (a, b) if value is not None], "" if unit == "bit" else unit)
    pair = [None if value is None else value / scale.factor for value in (a, b)]
    texts = tuple("none" if value is None else significant(value, digits) for value in pair)
    for more in range(digits + 1, _MOST_DIGITS + 1):
        if texts[0] != texts[1] or a == b:
            break
        texts = tuple("none" if value is None else significant(value, more) for value in pair)
    if texts[0] == texts[1] and a != b:  # even seventeen digits round alike beyond a hundred thousand
        return (repr(a), repr(b)), unit
    return (texts[0], texts[1]), scale.unit


def _together(lines: Sequence[Line]) -> str:
    """Count of the ratios whose rounds are apart; nothing is averaged over cells."""
    with_rounds = [line for line in lines if line.range]
    if not with_rounds:
        return ""
    apart = Counter(line.verdict for line in with_rounds if line.changed)
    said = ", ".join(f"{verdict} in {count}" for verdict, count in apart.items())
    return f"Of {len(with_rounds)} timed numbers with single rounds: {said or 'rounds overlap in all'}."


def _environment(a: Source, b: Source) -> list[Fact]:
    names = sorted({*a.facts, *b.facts})
    found = [Fact(name, a.facts.get(name, "–"), b.facts.get(name, "–")) for name in names]
    return sorted(found, key=lambda fact: not fact.differs)


def _name(pair: Pair) -> str:
    return " ".join((pair.model, short(pair.label), pair.dtype, pair.device))

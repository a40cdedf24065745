"""Verdict on a number that ought to be equal and is not: the interval of its change, and better or worse.

An exact number (bytes, bits, error of weights) is better or worse by its direction alone. One that is a mean
over a text speaks of that text's windows: it is better or worse only where the interval of its change, paired
by window, excludes no change. Where such a number has no interval the verdict says so.
"""

from __future__ import annotations

from qbench.report.view.digits import MINUS, NOTHING, significant, with_interval
from qbench.results.columns.metric import Metric
from qbench.results.compare.comparison import Difference, Pair
from qbench.results.compare.paired import Paired
from qbench.results.table.metrics import METRICS

WITHIN = "differs, within the interval"
BEYOND = "beyond the interval"
NO_INTERVAL = "no interval"
_OF_A_TEXT = ("perplexity", "tasks")
"""Sources of numbers that other text would change."""


def verdict_on(pair: Pair, one: Difference) -> tuple[str, str]:
    """The interval of the change as text, empty where it has none; and the verdict."""
    if one.a is None or one.b is None:
        return "", f"{'A' if one.a is None else 'B'} has none"
    metric = METRICS.get(one.metric)
    if metric is None or metric.direction is None or one.a == one.b:
        return "", "differs"
    paired = pair.paired.get(one.metric)
    if paired is None:
        return "", _without(metric, one.a, one.b)
    if paired.low is None or paired.high is None:
        return "", "differs; one window says nothing of the spread"
    way = _way(metric, paired.value - paired.none)
    beyond = paired.low > paired.none or paired.high < paired.none
    return _text(paired, paired.low, paired.high, metric), f"{way}, {BEYOND}" if beyond else WITHIN


def _without(metric: Metric, a: float, b: float) -> str:
    if abs(b - a) <= NOTHING * abs(a):
        return "differs in the last digits"
    way = _way(metric, b - a)
    return f"{way}, {NO_INTERVAL}" if metric.source in _OF_A_TEXT else way


def _way(metric: Metric, change: float) -> str:
    return "worse" if (change > 0) == (metric.direction == "lower") else "better"


def _text(paired: Paired, low: float, high: float, metric: Metric) -> str:
    """`× 1.0210 ± 0.0040`, `+0.0123 ± 0.0004 nat`."""
    ratio = paired.by == "ratio"
    value, spread = with_interval(paired.value, low, high, 5 if ratio else metric.digits)
    if ratio:
        return f"× {value} {spread}".rstrip()
    sign = "" if value.startswith(MINUS) or not value.strip("0.") else "+"  # what rounds to 0 has no sign
    return " ".join(filter(None, (f"{sign}{value}", spread, metric.unit)))


def percent(relative: float) -> str:
    """`+0.40 %`, of a change of 0.004."""
    text = significant(100 * relative, 2)
    return f"{text if text.startswith(MINUS) else f'+{text}'} %"

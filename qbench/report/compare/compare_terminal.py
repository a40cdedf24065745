"""Two runs side by side, for a terminal: what differs first, then a row a cell."""

from __future__ import annotations

from rich.console import Group as Parts
from rich.table import Table
from rich.text import Text

from qbench.report.compare.compare_headline import headline
from qbench.report.compare.differences import TIMED, differing_lines
from qbench.report.compare.verdict import verdict_on
from qbench.report.text.sanitize import MOST_CHARACTERS, plain, plain_name
from qbench.report.view.digits import significant
from qbench.report.view.names import short
from qbench.results.compare.comparison import Comparison, Difference, Pair, Timed
from qbench.results.table.columns import columns
from qbench.results.table.metrics import METRICS

_COLUMNS = TIMED[:3]
"""Timed metrics that a terminal has room for; the JSON holds all of them."""
_MOST = 2 * MOST_CHARACTERS
"""Characters of a text about both sides."""


def drawn(found: Comparison) -> Parts:
    """Everything as rich text, ready to print; texts from records are literal."""
    wrong = found.one_sided or any(not pair.identical for pair in found.pairs)
    parts: list[Table | Text] = [_rows(found.pairs)] if found.pairs else []
    said = headline(found, differing_lines(found))
    parts.append(Text(plain(said, _MOST), style="bold red" if wrong else "bold"))
    parts += [_line(pair, one) for pair in found.pairs for one in pair.differences]
    parts += _section("did not end well on one side or both", _short(found.not_ok))
    parts += _section("only in A", _short(found.only_a))
    parts += _section("only in B", _short(found.only_b))
    parts += _section("environments differ", found.environment) or [Text("environments: equal")]
    return Parts(*parts)


def _rows(pairs: tuple[Pair, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Model", "Method", "Dtype", "Device", "Deterministic"):
        table.add_column(title, overflow="fold")
    for name in _COLUMNS:
        table.add_column(f"{columns()[name].head}\nB/A (rounds)", justify="right", no_wrap=True)
    for pair in pairs:
        timed = {one.metric: one for one in pair.timed}
        words = (pair.model, short(pair.label), pair.dtype, pair.device, _verdict(pair))
        table.add_row(*map(Text, map(plain_name, words)), *(_ratio(timed.get(name)) for name in _COLUMNS))
    return table


def _verdict(pair: Pair) -> str:
    if pair.differences:
        return f"{len(pair.differences)} of {len(pair.compared)} differ"
    return f"{len(pair.compared)} equal" if pair.compared else "none measured"


def _ratio(timed: Timed | None) -> Text:
    if timed is None:
        return Text("–")
    spread = ""
    if timed.low is not None and timed.high is not None:
        spread = f" ({timed.low:.2f} … {timed.high:.2f})"
    return Text(f"{timed.ratio:.3f}{spread}")


def _line(pair: Pair, one: Difference) -> Text:
    digits = METRICS[one.metric].digits if one.metric in METRICS else 6
    values = [f"{name} {_value(value)}" for name, value in (("A", one.a), ("B", one.b))]
    relative = ""
    if one.a and one.b:
        relative = f" (B/A − 1 = {significant(one.b / one.a - 1, min(digits, 2))})"
    interval, verdict = verdict_on(pair, one)
    said = [text for text in (interval, verdict) if text != "differs" and not text.endswith("has none")]
    relative += "".join(f"; {text}" for text in said if text)
    cell = f"{pair.model} {short(pair.label)} {pair.dtype} {pair.device}"
    return Text(f"  {plain(cell)}: {one.metric}: {', '.join(values)}{relative}")


def _value(value: float | None) -> str:
    """The number with every digit, so that unequal numbers look unequal."""
    return "none" if value is None else repr(value)


def _short(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Lines about cells, with short names; the reasons of both sides come after a colon."""
    parted = (line.partition(": ") for line in lines)
    return tuple(f"{plain(short(cell))}{colon}{plain(reason, _MOST)}" for cell, colon, reason in parted)


def _section(title: str, lines: tuple[str, ...]) -> list[Text]:
    return [Text(f"{title}:"), *(Text(f"  {plain(line, 2 * _MOST)}") for line in lines)] if lines else []

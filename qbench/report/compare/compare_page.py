"""A comparison as a page of its own, and as Markdown for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbench.report.compare.compare_headline import headline
from qbench.report.compare.differences import (
    NOT_INTERLEAVED,
    QUIET,
    ComparisonView,
    Fact,
    Line,
    build_comparison,
)
from qbench.report.html.page import render_page, write_page
from qbench.report.text.markdown_text import LIMIT, bullets, cut_note, details, escaped, table
from qbench.results.compare.compare import Source
from qbench.results.compare.comparison import Comparison

INTERVAL = "95% interval"
"""Title of the column."""
_LACKING, _ENVIRONMENT, _GAP = 8_000, 8_000, 1_500
"""Characters at most in Markdown; differences have what is left, times what those leave."""


def render(found: Comparison, a: Source, b: Source) -> str:
    """The HTML page; it opens from disk and asks the network for nothing."""
    view = build_comparison(found, a, b)
    context = {
        "view": view, "headline": headline(found, view.differences), "title": "A and B compared",
        "note": NOT_INTERLEAVED, "quiet": QUIET, "interval": INTERVAL,
    }  # fmt: skip
    return render_page("compare.html.j2", context, scripts=["compare.js"], styles=["compare.css"])


def write_comparison(found: Comparison, a: Source, b: Source, target: Path) -> Path:
    """Writes the page, whole or not at all, and says where."""
    return write_page(target, render(found, a, b))


def markdown(found: Comparison, a: Source, b: Source) -> str:
    """The comparison as Markdown, at most `LIMIT` characters."""
    view = build_comparison(found, a, b)
    head = ["### qbench: A and B compared\n",
            *(f"**{side.name}** {escaped(side.folder)}: {escaped(side.runs)} "
            f"({side.cells})  " for side in view.sides)]  # fmt: skip
    parts = [
        "\n".join(head) + "\n",
        f"> {escaped(headline(found, view.differences))}\n",
        _lacking(view),
        _facts(view.environment),
    ]
    room = LIMIT - _GAP - sum(map(len, parts))
    changed = _lines(view, view.differences, ("Change", INTERVAL), "differences are", room)
    timed = ""
    if view.timed:
        loud = [line for line in view.timed if not line.quiet]
        body = _lines(view, loud, ("B/A", "Rounds"), "timed numbers are", room - len(changed) - _GAP)
        body += _about_the_same(len(view.timed) - len(loud))
        timed = f"{escaped(view.times)} {NOT_INTERLEAVED}\n\n" + details("Times, peaks and energy", body)
    return "\n".join(filter(None, (parts[0], parts[1], changed, parts[2], timed, parts[3])))


def _lines(view: ComparisonView, lines: Sequence[Line], titles: tuple[str, str], of: str, room: int) -> str:
    if not lines:
        return ""
    heads = ["Method", *(name.capitalize() for name in view.varying), "Number", "Verdict", *titles, "A", "B"]
    numbers = [name in ("A", "B", *titles) for name in heads]
    rows = [
        [escaped(one.method, 80), *(escaped(getattr(one, name), 60) for name in view.varying),
         escaped(one.metric), one.verdict, one.change or "–", one.range or "–",
         f"{one.a} {one.unit}".strip(), f"{one.b} {one.unit}".strip()]
        for one in lines
    ]  # fmt: skip
    text, left = table(heads, numbers, rows, room)
    return text + cut_note(left, of)


def _about_the_same(count: int) -> str:
    if not count:
        return ""
    return f"\n{count} more about the same: rounds overlap, or two single numbers within {QUIET - 1:.0%}.\n"


def _lacking(view: ComparisonView) -> str:
    lines = [f"**{where}** {escaped(line)}" for where, line in view.lacking]
    text, left = bullets(lines, _LACKING)
    return f"**Not compared:**\n\n{text}{cut_note(left, 'are')}" if lines else ""


def _facts(facts: Sequence[Fact]) -> str:
    apart = [fact for fact in facts if fact.differs]
    if not apart:
        return "Environments: equal.\n"
    rows = [[escaped(fact.name, 80), escaped(fact.a, 160), escaped(fact.b, 160)] for fact in apart]
    text, left = table(["", "A", "B"], [False] * 3, rows, _ENVIRONMENT)
    return details(f"Environments differ in {len(apart)}", text + cut_note(left, "facts are"))

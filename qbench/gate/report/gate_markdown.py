"""Markdown of a gate, for a comment on a pull request and for a job's summary on GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from qbench.gate.report.words import change, effort, interval, ranked, sides, threshold, values, whole
from qbench.gate.verdicts.finding import Finding, GateResult
from qbench.report.text.sanitize import plain

MOST_CHARACTERS = 60_000
"""A comment on GitHub holds 65,536."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_MARKS = {0: "✅", 1: "❌", 2: "⛔", 3: "❔"}
_HEAD = "| verdict | cell | metric | baseline → candidate | change | interval | threshold | why |"
_RULE = "| --- | --- | --- | --- | --- | --- | --- | --- |"


def markdown(result: GateResult) -> str:
    """The verdict, a table of the findings that are not `same`, and the rest folded away."""
    listed = [one for one in ranked(result.findings) if one.gated and one.verdict != "same"]
    folded = [one for one in ranked(result.findings) if one not in listed]
    parts = [*_head(result), *_facts(result)]
    room = MOST_CHARACTERS - sum(len(part) + 1 for part in parts) - 500
    rows = list(_fitting(map(_row, listed), room // 2 if folded else room))
    parts += _table(rows, len(listed) - len(rows))
    room -= sum(len(row) + 1 for row in rows)
    if folded:
        rest = list(_fitting(map(_row, folded), room))
        parts += [
            "<details><summary>The rest</summary>",
            "",
            *_table(rest, len(folded) - len(rest)),
            "</details>",
            "",
        ]
    if said := effort(result):
        parts += [f"Timed: {_safe(said)}.", ""]
    return "\n".join(parts)


def _head(result: GateResult) -> list[str]:
    """The verdict as a heading, and below it the reason why nothing was compared."""
    said = "refused" if result.refused is not None else _safe(result.verdict)
    lines = [f"### {_MARKS[result.exit_code]} qbench gate {said}", "", _safe(sides(result)), ""]
    return lines if result.refused is None else [*lines, _cut(_whole(result.refused)), ""]


def _facts(result: GateResult) -> list[str]:
    """Notes and differing facts as lists, cut so that findings have room."""
    lists = (("Note", result.notes), ("Differs", result.environment), ("Accepted", result.accepted))
    room, found = MOST_CHARACTERS // 3, list[str]()
    for title, lines in lists:
        items = list(_fitting((f"- {title}: {_whole(line)}" for line in lines), room))
        left_out = len(lines) - len(items)
        more = [f"- {title}: … and {left_out} more; the JSON file has them all"] if left_out else []
        room -= sum(len(item) + 1 for item in items)
        found += [*items, *more, ""] if lines else []
    return found


def _cut(text: str) -> str:
    """The text cut to its room: escaping can make a long text several times as long."""
    most = MOST_CHARACTERS // 2
    return text if len(text) <= most else f"{text[:most].rstrip(chr(92))}…"


def _table(rows: Sequence[str], left_out: int) -> list[str]:
    if not rows and not left_out:
        return []
    more = [f"… and {left_out} more; the JSON file has them all.", ""] if left_out else []
    return [_HEAD, _RULE, *rows, "", *more]


def _fitting(rows: Iterable[str], room: int) -> Iterator[str]:
    """The leading rows that fit into `room` characters."""
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            return
        yield row


def _row(finding: Finding) -> str:
    verdict = finding.verdict if finding.gated else f"{finding.verdict} (shown)"
    cells = [
        f"**{verdict}**" if finding.red else verdict,
        *map(_safe, (finding.cell, finding.metric, values(finding), change(finding), interval(finding))),
        _safe(threshold(finding)),
        _safe(finding.reason),
    ]
    return f"| {' | '.join(cells)} |"


def _safe(text: object) -> str:
    """Text escaped for Markdown and HTML, in which no link and no mention of a user is active."""
    return _escaped(plain(text))


def _whole(text: object) -> str:
    return _escaped(whole(text))


def _escaped(text: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<=[@:/])", "\u200b", escaped) if re.search(r"@|://|www\.", escaped) else escaped

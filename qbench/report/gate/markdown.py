"""A gate as Markdown, for a comment on a pull request and for a job's summary on GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qbench.report.gate.words import change, effort, interval, plain, ranked, sides, threshold, values
from qbench.results.gate.finding import Finding, GateResult

MOST_CHARACTERS = 60_000
"""A comment on GitHub holds 65,536."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_MARKS = {0: "✅", 1: "❌", 2: "⛔", 3: "❔"}
_HEAD = "| verdict | cell | metric | baseline → candidate | change | interval | threshold | why |"
_RULE = "| --- | --- | --- | --- | --- | --- | --- | --- |"


def markdown(result: GateResult) -> str:
    """The verdict, what is not fine as a table, and the rest folded away."""
    listed = [one for one in ranked(result.findings) if one.gated and one.verdict != "same"]
    folded = [one for one in ranked(result.findings) if one not in listed]
    parts = [
        f"### {_MARKS[result.exit_code]} qbench gate {_safe(result.verdict)}",
        "",
        _safe(sides(result)),
        "",
    ]
    for title, lines in (
        ("Note", result.notes),
        ("Differs", result.environment),
        ("Accepted", result.accepted),
    ):
        parts += [f"- {title}: {_safe(line)}" for line in lines] + ([""] if lines else [])
    room = MOST_CHARACTERS - sum(len(part) + 1 for part in parts) - 500
    rows = list(_fitting(listed, room // 2 if folded else room))
    parts += _table(rows, len(listed) - len(rows))
    room -= sum(len(row) + 1 for row in rows)
    if folded:
        rest = list(_fitting(folded, room))
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


def _table(rows: Sequence[str], left_out: int) -> list[str]:
    if not rows and not left_out:
        return []
    more = [f"… and {left_out} more; the JSON file has them all.", ""] if left_out else []
    return [_HEAD, _RULE, *rows, "", *more]


def _fitting(findings: Sequence[Finding], room: int) -> Iterator[str]:
    """Rows as long as there is room for them."""
    for finding in findings:
        row = _row(finding)
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
    """Text that neither Markdown nor HTML reads as its own, and that calls on nobody."""
    escaped = (
        _SPECIAL.sub(r"\\\1", plain(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return re.sub(r"(?<=[@:/])", "\u200b", escaped) if re.search(r"@|://|www\.", escaped) else escaped

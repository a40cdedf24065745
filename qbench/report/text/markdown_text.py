"""Texts out of records as literal text in GitHub's Markdown, and what is left of them where room is short.

Markdown reads punctuation, HTML, and on GitHub more: `@name` notifies somebody, `#12` and addresses become
links, `:tada:` a picture, `$…$` a formula. The former are escaped; the latter are found in the finished text,
where no escape helps, and get a character of no width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LIMIT = 65_536
"""Characters of a comment on GitHub."""
NOTHING = "\u200b"
"""A space of no width."""
_NOTE = 30
"""Characters that the mark of a cut may take: no fewer are cut."""
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_PUNCTUATION = re.compile(r"[\\`*\[\]|~$#!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_FOUND_LATER = re.compile(
    r"(?<=@)(?=\w)|(?<=#)(?=\d)|(?<=://)|(?<=www)(?=\.)|(?<=:)(?=(?:100|1234|[+-]1|[\w+-]*[a-z][\w+-]*):)|(?<=GH-)(?=\d)",
    re.I,
)
_LISTS = re.compile(r"^(\d+)([.)])(?=\s|$)|^([-+=])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")


def escaped(text: object, longest: int = 300) -> str:
    """One line of literal text, at most about so long."""
    line = _CONTROL.sub(" ", str(text)).strip()
    if len(line) > longest + _NOTE:
        line = f"{line[:longest]} … ({len(line)} characters)"
    line = _FOUND_LATER.sub(NOTHING, line)
    line = _PUNCTUATION.sub(lambda match: f"\\{match[0]}", line)
    line = _LISTS.sub(lambda match: f"{match[1]}\\{match[2]}" if match[1] else f"\\{match[3]}", line)
    return line.translate(_ENTITIES)


def table(
    heads: Sequence[str], numbers: Sequence[bool], rows: Sequence[Sequence[str]], room: int
) -> tuple[str, int]:
    """A table of escaped texts, numbers to the right, and how many rows had no room."""
    rules = ["---:" if number else "---" for number in numbers]
    lines = [_line(heads), _line(rules)]
    room -= sum(map(len, lines))
    for row in rows:
        line = _line(row)
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    return "".join(lines), len(rows) - (len(lines) - 2)


def bullets(lines: Sequence[str], room: int) -> tuple[str, int]:
    """A list, and how many lines had no room."""
    kept = list[str]()
    for line in lines:
        room -= len(line) + 3
        if room < 0:
            break
        kept.append(f"- {line}\n")
    return "".join(kept), len(lines) - len(kept)


def details(summary: str, body: str) -> str:
    """Collapsed until somebody opens it."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


def cut_note(left: int, of: str) -> str:
    """Note of what was left out; empty where nothing was."""
    if not left:
        return ""
    return (
        f"\n**{left} {of} not shown**: a comment holds {LIMIT:,} characters. "
        "The HTML page and `qbench show` have all.\n"
    )


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(parts)} |\n"

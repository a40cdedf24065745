"""Text out of records made harmless for outputs of lines: a terminal, a log, a gate's reports.

Names and reasons come from suites, methods and exceptions, so they may hold anything: line breaks, control
characters that a terminal obeys, half of a surrogate pair, a million characters.
"""

from __future__ import annotations

MOST_CHARACTERS = 600
"""Characters of one reason; an exception's message can be a page."""
MOST_OF_NAME = 120
"""Characters of a label, a model or a method: a name in a line."""


def plain(text: object, limit: int = MOST_CHARACTERS) -> str:
    """The text on one line, without a character that acts instead of being seen."""
    line = " ".join(str(text).split())[: limit + 1]
    shown = line if line.isprintable() else "".join(map(_seen, line))
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _seen(one: str) -> str:
    return one if one.isprintable() else f"\\x{ord(one):02x}"


def plain_name(text: object) -> str:
    """A name as plain text."""
    return plain(text, MOST_OF_NAME)

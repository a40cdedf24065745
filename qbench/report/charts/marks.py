"""Colour, symbol and dash of each method, the same in every chart of a page.

Okabe and Ito's colours, which the colour-blind can tell apart, less the yellow that white swallows and the
black that the dark theme does ("Color Universal Design", 2008). Symbol and dash say the same a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#7F7F7F"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star")
FILLS = ("", "-open", "-dot", "-open-dot")
"""Suffixes of a symbol, for the lines of one method: a line of one point shows no dash."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
PATTERNS = ("", "/", "x", ".", "\\", "-")
BASE = "none"


@dataclass(frozen=True)
class Mark:
    """Colour, symbol and dash of a method."""

    colour: str
    symbol: str
    dash: str


class Marks:
    """Marks of methods, given in alphabetical order; the base is grey. 42 differ in colour or symbol."""

    def __init__(self, methods: Iterable[str]) -> None:
        self._places = {method: place for place, method in enumerate(sorted(set(methods) - {BASE}))}

    def of(self, method: str) -> Mark:
        if method == BASE:
            return Mark(GREY, "hexagon", "solid")
        place = self._places[method]
        turn, colour = divmod(place, len(PALETTE))
        other = colour + turn
        return Mark(PALETTE[colour], SYMBOLS[other % len(SYMBOLS)], DASHES[other % len(DASHES)])

    def ordered(self, methods: Iterable[str]) -> list[str]:
        """The methods in order, the base first."""
        return sorted(set(methods), key=lambda method: (method != BASE, method))


def faint(colour: str, opacity: float = 0.55) -> str:
    """The colour with this opacity, as plotly writes it."""
    return f"rgba({', '.join(str(part) for part in bytes.fromhex(colour[1:]))}, {opacity})"

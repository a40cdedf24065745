"""Draws docs/gate-power.svg from proof.json: the share of runs that find a slowdown, by its size.

python -m tests.gate.proof.power_svg
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
OUT = FOLDER.parents[2] / "docs" / "gate-power.svg"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 20, 20, 50
MOST_PERCENT = 10.0
SERIES = (
    ("60 × 2, 1800 s", "60 cells, threshold 3 %, 1800 s in all", "#1f6feb"),
    ("10 × 2, 300 s", "10 cells, threshold 3 %, 300 s in all", "#1a7f37"),
)
_NAME = re.compile(r"\+([\d.]+) %, (.*)")


def points(rows: list[dict[str, Any]], series: str) -> list[tuple[float, float, float, float]]:
    """Percent slower, share found, and its interval."""
    found = []
    for row in rows:
        match = _NAME.fullmatch(row["name"])
        if match and match[2] == series and float(match[1]) <= MOST_PERCENT:
            found.append((float(match[1]), row["found"] / row["runs"], *row["found_95"]))
    return found


def svg(rows: list[dict[str, Any]]) -> str:
    """Readable on a light and on a dark page."""
    parts = [*_axes()]
    for index, (name, title, colour) in enumerate(SERIES):
        known = points(rows, name)
        line = " ".join(f"{_x(percent):.1f},{_y(share):.1f}" for percent, share, *_ in known)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for percent, share, low, high in known:
            x = f"{_x(percent):.1f}"
            parts.append(f'<path d="M{x} {_y(low):.1f}V{_y(high):.1f}" stroke="{colour}" opacity="0.6"/>')
            parts.append(f'<circle cx="{x}" cy="{_y(share):.1f}" r="3.5" fill="{colour}"/>')
        y = HEIGHT - BOTTOM - 20 - 18 * (len(SERIES) - 1 - index)
        parts.append(f'<path d="M{WIDTH - 330} {y - 4}h24" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{WIDTH - 298}" y="{y}">{title}</text>')
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#777"'
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n"


def _axes() -> list[str]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0):
        y = _y(share)
        dash = ' stroke-dasharray="4 3"' if share == 0.9 else ""
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#999" opacity="0.4"{dash}/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for percent in range(0, int(MOST_PERCENT) + 1, 2):
        parts.append(
            f'<text x="{_x(percent):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">+{percent} %</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        "injected slowdown of one cell's decode; share of runs that find it, 95 % interval</text>"
    )
    return parts


def _x(percent: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * percent / MOST_PERCENT


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


if __name__ == "__main__":
    OUT.write_text(svg(json.loads((FOLDER / "proof.json").read_text())))

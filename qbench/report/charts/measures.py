"""A column of the frame as a quantity to draw: its value, its interval, its text, its scale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qbench.json_object import JsonObject
from qbench.report.charts.chart import rounded
from qbench.report.view.cells import Field, ends, scale_of
from qbench.report.view.digits import Scale, significant
from qbench.results.columns.column import Column, Row
from qbench.results.table.columns import columns

WIDE_RANGE = 8.0
"""Largest over smallest from which an axis is logarithmic."""
WIDE_QUALITY = 3.0
"""The same for qualities: one method that ruins the model must not hide the differences of the others."""
_DECADES = 1e4


@dataclass(frozen=True)
class Measure:
    """A column of the frame under the title that it has in charts."""

    column: Column
    title: str
    wide: float = WIDE_RANGE
    """Largest over smallest from which its axis is logarithmic."""

    @property
    def name(self) -> str:
        return self.column.name

    def value(self, row: Row) -> float | None:
        found = row[self.name]
        return None if found is None else float(found)

    def ends(self, row: Row) -> tuple[float, float]:
        """Ends of the interval; without one the extremes, and without those the value itself."""
        low, high = ends(row, self.column)
        return float(row[self.name] if low is None else low), float(row[self.name] if high is None else high)

    def scale(self, rows: Iterable[Row]) -> Scale:
        """The unit for these rows."""
        return scale_of(self.column, rows)

    def heading(self, scale: Scale) -> str:
        return f"{self.title} ({scale.unit})" if scale.unit else self.title

    def text(self, row: Row, scale: Scale) -> str:
        """`1.021 ± 0.004`, with as many digits as the interval supports; a dash where there is none."""
        return Field(self.column, scale).line(row)

    def drawn(self, rows: list[Row], scale: Scale) -> list[float | None]:
        return [rounded(None if row[self.name] is None else row[self.name] / scale.factor) for row in rows]

    def error(self, rows: list[Row], scale: Scale) -> JsonObject | None:
        """plotly's error bars; None where no row has any width."""
        gaps = [self._gaps(row, scale) for row in rows]
        if not any(above or below for above, below in gaps):
            return None
        return {
            "type": "data", "array": [above for above, _ in gaps],
            "arrayminus": [below for _, below in gaps], "thickness": 1.3, "width": 3,
        }  # fmt: skip

    def _gaps(self, row: Row, scale: Scale) -> tuple[float, float]:
        if row[self.name] is None:
            return 0.0, 0.0
        low, high = self.ends(row)
        above, below = max(0.0, high - row[self.name]), max(0.0, row[self.name] - low)
        return rounded(above / scale.factor) or 0.0, rounded(below / scale.factor) or 0.0


def _measure(name: str, title: str, wide: float = WIDE_RANGE) -> Measure:
    return Measure(columns()[name], title, wide)


BITS = _measure("bits_per_weight", "Bits per weight")
RATIO = _measure("perplexity_ratio", "Perplexity × base", WIDE_QUALITY)
PERPLEXITY = _measure("perplexity", "Perplexity", WIDE_QUALITY)
KL = _measure("kl_divergence", "KL divergence")
WEIGHTS = _measure("weight_bytes", "Weight memory")
WEIGHTS_RATIO = _measure("weight_bytes_ratio", "Weight memory × base")
DECODE = _measure("decode_s_per_token", "Decode time")
ENERGY = _measure("energy_j_per_token", "Measured energy")
MODELLED = _measure("energy_modelled_j_per_token", "Modelled energy")
PREFILL_SPEED = _measure("prefill_speedup", "Prefill speed × base")
DECODE_SPEED = _measure("decode_speedup", "Decode speed × base")


def number(value: float | None, digits: int = 3) -> str:
    """Text of a number without an interval; a dash where there is none."""
    return "–" if value is None else significant(value, digits)


def axis(title: str, values: Iterable[float | None], wide: float = WIDE_RANGE) -> JsonObject:
    """plotly's axis; logarithmic, and its title says so, where the range of the values is over `wide`."""
    found = [value for value in values if value is not None]
    if not found or min(found) <= 0 or max(found) / min(found) <= wide:
        return {"title": {"text": title}, "type": "linear"}
    step = "D2" if max(found) / min(found) < _DECADES else 1  # 1, 2, 5, 10 …, or powers of ten alone
    heading = {"text": f"{title}, logarithmic"}
    return {"title": heading, "type": "log", "tickformat": "~r", "dtick": step}

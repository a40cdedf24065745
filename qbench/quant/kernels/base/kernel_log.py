"""`KernelLog`: the calls of a quantized layer by kernel, with their rows and the outliers found."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.json_object import JsonObject


@dataclass(slots=True)
class KernelCalls:
    """Calls of one kernel, and the fewest and most rows among them."""

    min_rows: int
    max_rows: int
    calls: int = 0


class KernelLog:
    """Calls by kernel, and the outlier columns that calls found beside those stored."""

    def __init__(self) -> None:
        self._executed: dict[str, KernelCalls] = {}
        self._outlier_calls = 0
        self._outliers_found = 0

    def open(self, kernel: str, rows: int) -> KernelCalls:
        """The calls of this kernel, these rows among them; the caller adds its calls."""
        seen = self._executed.setdefault(kernel, KernelCalls(rows, rows))
        seen.min_rows, seen.max_rows = min(seen.min_rows, rows), max(seen.max_rows, rows)
        return seen

    @property
    def calls(self) -> int:
        return sum(seen.calls for seen in self._executed.values())

    def count_outliers(self, found: int) -> None:
        """Notes that a call took so many columns out of the int8 product beside those stored apart."""
        self._outlier_calls += 1
        self._outliers_found += found

    def reset(self) -> None:
        self._executed.clear()
        self._outlier_calls = self._outliers_found = 0

    def executed(self) -> list[JsonObject]:
        """The kernels that ran, as JSON values."""
        return [
            {"kernel": name, "min_rows": seen.min_rows, "max_rows": seen.max_rows, "calls": seen.calls}
            for name, seen in self._executed.items()
        ]

    def outliers(self, threshold: float | None, stored: int, in_features: int) -> JsonObject:
        """Outlier columns stored, their share of K, and the share taken out at run time, mean over calls;
        empty for a layer without a threshold."""
        if threshold is None:
            return {}
        calls, found = self._outlier_calls, self._outliers_found
        return {
            "outlier_threshold": threshold,
            "outlier_columns": stored,
            "outlier_share": stored / in_features,
            "outlier_share_seen": (stored + found / calls) / in_features if calls else None,
        }

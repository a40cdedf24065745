"""`KernelLog`: the calls of a quantized layer by kernel, with their rows and the outliers found."""

from __future__ import annotations

from typing import Any


class KernelLog:
    """Calls by kernel, and the outlier columns that calls found beside those stored."""

    def __init__(self) -> None:
        self._executed: dict[str, list[int]] = {}
        """Kernel name → fewest rows, most rows, calls."""
        self._outliers = [0, 0]
        """Calls, columns found."""

    def open(self, kernel: str, rows: int) -> list[int]:
        """Fewest rows, most rows, calls of this kernel, these rows among them; the caller adds its calls."""
        seen = self._executed.setdefault(kernel, [rows, rows, 0])
        seen[0], seen[1] = min(seen[0], rows), max(seen[1], rows)
        return seen

    @property
    def calls(self) -> int:
        return sum(calls for *_, calls in self._executed.values())

    def count_outliers(self, found: int) -> None:
        """Notes that a call took so many columns out of the int8 product beside those stored apart."""
        self._outliers = [self._outliers[0] + 1, self._outliers[1] + found]

    def reset(self) -> None:
        self._executed.clear()
        self._outliers = [0, 0]

    def executed(self) -> list[dict[str, Any]]:
        """The kernels that ran, as JSON values."""
        return [
            {"kernel": name, "min_rows": least, "max_rows": most, "calls": calls}
            for name, (least, most, calls) in self._executed.items()
        ]

    def outliers(self, threshold: float | None, stored: int, in_features: int) -> dict[str, Any]:
        """Outlier columns stored, their share of K, and the share taken out at run time, mean over calls;
        empty for a layer without a threshold."""
        if threshold is None:
            return {}
        calls, found = self._outliers
        return {
            "outlier_threshold": threshold,
            "outlier_columns": stored,
            "outlier_share": stored / in_features,
            "outlier_share_seen": (stored + found / calls) / in_features if calls else None,
        }

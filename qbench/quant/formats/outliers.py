"""Columns of a weight that stay in 16 bit beside int8 codes: LLM.int8() (arXiv 2208.07339)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Outliers:
    """Input features multiplied in the activations' dtype, and the threshold for more at run time."""

    threshold: float
    """A column of the input that holds a magnitude of this or more is an outlier."""
    columns: Tensor | None = None
    """int32 (C), ascending, C ≥ 1: features stored apart, whatever they hold at run time. None: none are."""
    weights: Tensor | None = None
    """(N, C): the unquantized weights of these columns, in the model's dtype. None where `columns` is."""

    def why_invalid(self, shape: torch.Size) -> str | None:
        """The first contradiction to a weight of that shape, or None."""
        n, k = shape
        if not 0 < self.threshold < float("inf"):
            return f"outlier threshold is {self.threshold}"
        if self.columns is None or self.weights is None:
            return None if self.columns is self.weights else "outlier columns without their weights"
        columns = self.columns
        if columns.dtype != torch.int32 or columns.dim() != 1 or not columns.numel():
            return f"outlier columns are {columns.dtype} {tuple(columns.shape)}, not int32 (C)"
        if not bool((columns.diff() > 0).all()) or int(columns[0]) < 0 or int(columns[-1]) >= k:
            return f"outlier columns are no ascending choice of {k}"
        if self.weights.shape != (n, columns.numel()) or not self.weights.is_floating_point():
            return f"outlier weights are {self.weights.dtype} {tuple(self.weights.shape)}, not (N, C)"
        return None if bool(self.weights.isfinite().all()) else "outlier weights hold inf or nan"

    def put(self, weight: Tensor) -> Tensor:
        """Writes the stored columns into a dequantized weight (N, K) and returns it."""
        if self.columns is None or self.weights is None:
            return weight
        return weight.index_copy_(1, self.columns.long(), self.weights.to(weight.dtype))

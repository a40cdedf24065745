"""`Inputs`: sums and extremes of a layer's inputs on the calibration text, never the inputs themselves.

A method names what it needs (`Method.statistics`); layers that read the same tensor share one `Inputs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from qbench.errors import MethodError
from qbench.quant.method.products import add_products, whole
from qbench.quant.method.statistic import Statistic

T = TypeVar("T")


class Inputs:
    """Statistics of inputs x (tokens, K), gathered piece by piece with `add`."""

    def __init__(self, in_features: int, wanted: Iterable[Statistic], device: torch.device | str) -> None:
        self.in_features = in_features
        self.tokens = 0
        self._wanted = frozenset(wanted)
        self._made: dict[Hashable, Any] = {}
        self._products = self._columns = None
        if "hessian" in self._wanted:
            self._products = torch.zeros(in_features, in_features, device=device)
        if "columns" in self._wanted:
            self._columns = torch.zeros(in_features, device=device)
        self._low = self._high = 0.0

    def add(self, x: Tensor) -> None:
        """Takes inputs (…, K) of any float dtype."""
        x = x.detach().reshape(-1, self.in_features)
        if x.shape[0] == 0:
            return
        self.tokens += x.shape[0]
        self._made.clear()
        if self._products is not None:
            add_products(self._products, x)
        if self._columns is not None:
            largest = torch.maximum(-x.amin(0), x.amax(0)).float()
            torch.maximum(self._columns, largest, out=self._columns)
        if "range" in self._wanted:
            low, high = float(x.min()), float(x.max())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise MethodError("the layer's inputs on the calibration text hold inf or nan")
            self._low, self._high = min(self._low, low), max(self._high, high)

    def hessian(self) -> Tensor:
        """H = 2/n · Σ x xᵀ as float32 (K, K), n the tokens (GPTQ, arXiv 2210.17323, section 3.3).

        A new tensor at each call; MethodError where it holds inf or nan.
        """
        made = whole(self._known("hessian", self._products), 2.0 / self.tokens)
        if not bool(made.isfinite().all()):
            raise MethodError(
                "the layer's inputs on the calibration text hold inf or nan, or overflow float32"
            )
        return made

    def columns(self) -> Tensor:
        """max |x| of each input feature, float32 (K)."""
        return self._known("columns", self._columns)

    def range(self) -> tuple[float, float]:
        """Least and largest input, widened to hold 0."""
        self._known("range", self._low)
        return self._low, self._high

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Result of `make`, computed for the first of the layers that share these inputs and then kept."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def _known(self, name: Statistic, value: T | None) -> T:
        if value is None or name not in self._wanted:
            raise MethodError(f"the inputs' {name} was not gathered; name it in the method's `statistics`")
        if self.tokens == 0:
            raise MethodError("the layer saw no input on the calibration text")
        return value

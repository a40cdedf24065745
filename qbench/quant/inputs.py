"""`Inputs`: what is kept of a layer's inputs on the calibration text. Sums and extremes, never the inputs.

A method names what it needs (`Method.statistics`); layers that read the same tensor share one `Inputs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor

from qbench.errors import MethodError
from qbench.quant.method import Statistic

T = TypeVar("T")


class Inputs:
    """Statistics of inputs x (tokens, K), gathered piece by piece with `add`."""

    def __init__(self, in_features: int, wanted: Iterable[Statistic], device: torch.device | str) -> None:
        self.in_features = in_features
        self.tokens = 0
        self._wanted = frozenset(wanted)
        self._products = self._columns = None
        if "hessian" in self._wanted:
            self._products = torch.zeros(in_features, in_features, device=device)
        if "columns" in self._wanted:
            self._columns = torch.zeros(in_features, device=device)
        self._low = self._high = 0.0

    def add(self, x: Tensor) -> None:
        """Takes inputs (…, K) of any float dtype."""
        x = x.detach().reshape(-1, self.in_features).to(torch.float32)
        self.tokens += x.shape[0]
        if self._products is not None:
            self._products.addmm_(x.t(), x)
        if self._columns is not None:
            torch.maximum(self._columns, x.abs().amax(0), out=self._columns)
        if "range" in self._wanted:
            self._low, self._high = min(self._low, float(x.min())), max(self._high, float(x.max()))

    def hessian(self) -> Tensor:
        """H = 2/n · Σ x xᵀ as float32 (K, K), n the tokens (GPTQ, arXiv 2210.17323, section 3.3)."""
        products = self._known("hessian", self._products)
        return products * (2.0 / self.tokens)

    def columns(self) -> Tensor:
        """max |x| of each input feature, float32 (K)."""
        return self._known("columns", self._columns)

    def range(self) -> tuple[float, float]:
        """Least and largest input, widened to hold 0."""
        self._known("range", self._low)
        return self._low, self._high

    def _known(self, name: Statistic, value: T | None) -> T:
        if value is None or name not in self._wanted:
            raise MethodError(f"the inputs' {name} was not gathered; name it in the method's `statistics`")
        if self.tokens == 0:
            raise MethodError("the layer saw no input on the calibration text")
        return value

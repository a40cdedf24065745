"""Names of the statistics that can be gathered of a layer's inputs on the calibration text."""

from __future__ import annotations

from typing import Literal

Statistic = Literal["hessian", "columns", "range"]
"""Methods of `qbench.quant.method.inputs.Inputs` with the same names give them."""

"""No quantization: the model in its dtype, the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qbench import Method


@dataclass(frozen=True)
class Unquantized(Method):
    """The model as it is, cast to the cell's dtype (fp32, bf16 or fp16)."""

    quantizes: ClassVar[bool] = False

"""`Method`: what a quantization method is to qbench.

A method is a frozen dataclass whose fields are its parameters. It decides *codes* (integers, scales,
zeros), never how they are stored or run. This module imports no torch, so that a suite's parameters are
checked, planned and listed in an instant; a method's file imports torch inside `quantize_layer` or under
`TYPE_CHECKING`.

    @dataclass(frozen=True)
    class Absmax(Method):
        \"""Symmetric round to nearest.\"""

        num_bits: int = 8

        def quantize_layer(self, weight, layer):
            ...
            return AffineWeight(codes=…, scale=…, zero=None, num_bits=self.num_bits, group_size=None)
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from qbench.quant.affine import AffineWeight
    from qbench.suite.cell import Cell


@dataclass(frozen=True)
class Layer:
    """What a method is told of the layer that it quantizes."""

    name: str
    """Dotted name in the model, such as `model.layers.0.mlp.down_proj`."""
    kind: str
    """`Linear` or `Conv1D` (GPT-2; its weight is handed over transposed, as out × in)."""
    in_features: int
    out_features: int


@dataclass(frozen=True)
class Method:
    """Base of every method. Fields are parameters; each has a type, a default and a docstring.

    Types are checked strictly when a suite names the method; what types cannot say (a range, a
    combination) goes into `__post_init__` as a ValueError.
    """

    needs_calibration: ClassVar[bool] = False
    """Whether `quantize` reads the calibration text; decides whether it enters the cell."""
    quantizes: ClassVar[bool] = True
    """False for the unquantized baseline alone."""

    def unsupported(self, cell: Cell) -> str | None:
        """Why this method cannot run this cell (it becomes `skipped`), or None."""
        return None

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        """Codes for one weight of shape (out_features, in_features), float, on the cell's device."""
        raise NotImplementedError(f"{type(self).__name__} has no quantize_layer")

    def params(self) -> dict[str, Any]:
        """Every parameter, defaults included, as JSON values."""
        return dataclasses.asdict(self)

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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from qbench.quant.method.statistic import Statistic

if TYPE_CHECKING:
    from torch import Tensor

    from qbench.cell import Cell
    from qbench.quant.formats.weight import PackedWeight
    from qbench.quant.method.inputs import Inputs


@dataclass(frozen=True)
class Layer:
    """What a method is told of the layer that it quantizes."""

    name: str
    """Dotted name in the model, such as `model.layers.0.mlp.down_proj`."""
    kind: str
    """`Linear` or `Conv1D` (GPT-2; its weight is handed over transposed, as out × in)."""
    in_features: int
    out_features: int
    inputs: Inputs | None = None
    """What the layer's inputs were on the calibration text, for a method that names `statistics`."""
    notes: dict[str, Any] = field(default_factory=dict, compare=False)
    """What the method found out on the way and the record should know, as JSON values; it is written to."""


@dataclass(frozen=True)
class Method:
    """Base of every method. Fields are parameters; each has a type, a default and a docstring.

    Types are checked strictly when a suite names the method; what types cannot say (a range, a
    combination) goes into `__post_init__` as a ValueError.
    """

    quantizes: ClassVar[bool] = True
    """False where it leaves the model as it is loaded: the unquantized baseline, and `saved`."""
    reads_checkpoint: ClassVar[bool] = False
    """True for `saved` alone: it runs on what `qbench quantize` wrote, and on nothing else."""

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What `quantize_layer` reads from `layer.inputs`; none: the method needs no calibration text."""
        return ()

    @property
    def one_by_one(self) -> bool:
        """Whether layers of a block see the outputs of those quantized before them in the same block
        (GPTQ's true-sequential), or all see the block's unquantized ones."""
        return False

    @property
    def needs_calibration(self) -> bool:
        """Whether the calibration text is read; decides whether it enters the cell."""
        return bool(self.statistics)

    def unsupported(self, cell: Cell) -> str | None:
        """Why this method cannot run this cell (it becomes `skipped`), or None."""
        return None

    def quantize_layer(self, weight: Tensor, layer: Layer) -> PackedWeight:
        """Codes for one weight of shape (out_features, in_features), float, on the cell's device."""
        raise NotImplementedError(f"{type(self).__name__} has no quantize_layer")

    def params(self) -> dict[str, Any]:
        """Every parameter, defaults included, as JSON values."""
        return dataclasses.asdict(self)

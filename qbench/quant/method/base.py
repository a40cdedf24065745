"""`Method`: the base of every quantization method.

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
from typing import TYPE_CHECKING, ClassVar

from qbench.json_object import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

    from qbench.cell import Cell
    from qbench.quant.formats.weight import PackedWeight
    from qbench.quant.method.inputs import Inputs
    from qbench.quant.method.statistic import Statistic


@dataclass(frozen=True)
class Layer:
    """Facts of the layer that a method quantizes."""

    name: str
    """Dotted name in the model, such as `model.layers.0.mlp.down_proj`."""
    kind: str
    """`Linear` or `Conv1D` (GPT-2; its weight is handed over transposed, as out × in)."""
    in_features: int
    out_features: int
    inputs: Inputs | None = None
    """Statistics of the layer's inputs on the calibration text, for a method that names `statistics`."""
    notes: JsonObject = field(default_factory=dict, compare=False)
    """Findings of the method for the record, as JSON values; the method writes to it."""


@dataclass(frozen=True)
class Method:
    """Base of every method. Fields are parameters; each has a type, a default and a docstring.

    Types are checked strictly when a suite names the method; what types cannot say (a range, a
    combination) goes into `__post_init__` as a ValueError.
    """

    quantizes: ClassVar[bool] = True
    """False where it leaves the model as it is loaded: the unquantized baseline, and `saved`."""
    reads_checkpoint: ClassVar[bool] = False
    """True for `saved` alone: it runs on checkpoints of `qbench quantize`, and on nothing else."""

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """Statistics that `quantize_layer` reads from `layer.inputs`; none: no calibration text is needed."""
        return ()

    @property
    def one_by_one(self) -> bool:
        """True where layers of a block see the outputs of those quantized before them in the same block
        (GPTQ's true-sequential), False where all see the block's unquantized ones."""
        return False

    @property
    def needs_calibration(self) -> bool:
        """True where the calibration text is read, which then enters the cell."""
        return bool(self.statistics)

    def unsupported(self, cell: Cell) -> str | None:
        """The reason why this method cannot run a cell, which is then `skipped`, or None."""
        return None

    def quantize_layer(self, weight: Tensor, layer: Layer) -> PackedWeight:
        """Codes for one weight of shape (out_features, in_features), float, on the cell's device."""
        raise NotImplementedError(f"{type(self).__name__} has no quantize_layer")

    def params(self) -> JsonObject:
        """Every parameter, defaults included, as JSON values."""
        return dataclasses.asdict(self)

"""`LayerFacts`: the making of a quantized layer, for its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from qbench.json_object import JsonObject


@dataclass(frozen=True)
class LayerFacts:
    """Facts of a layer's making; each is None for a layer that was made outside a model."""

    kind: str | None = None
    """`Linear` or `Conv1D`."""
    method: str | None = None
    params: JsonObject | None = None
    """Parameters of the method, as JSON values."""
    weight_error: float | None = None
    """‖w − ŵ‖/‖w‖ at quantization; None for a weight of zeros."""
    calibration_tokens: int | None = None
    notes: JsonObject | None = None
    """The method's own findings, as JSON values."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The facts of a checkpoint; what it lacks is None, what this version does not know is left out."""
        return cls(**{field.name: data.get(field.name) for field in dataclasses.fields(cls)})

    def to_dict(self) -> JsonObject:
        """The facts as JSON values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

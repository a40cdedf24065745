"""Description of a folder that `qbench quantize` wrote, read without torch, and the cells that it fits.

`qbench.quant.model.checkpoint` writes and loads these folders; planning a suite needs only what is here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from qbench.cell import ModelRef
from qbench.errors import ModelError
from qbench.fields import one_line
from qbench.json_object import JsonObject
from qbench.models.source import FACTS, locate

MAX_LABEL = 120
_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Saved:
    """A quantized checkpoint, as far as a plan needs to know it."""

    dtype: str
    """Dtype of the unquantized weights and the activations: `fp32`, `bf16` or `fp16`."""
    origin: JsonObject = field(default_factory=dict)
    """Origin of the checkpoint; empty where its maker did not say."""

    @property
    def label(self) -> str:
        """Method and parameters as they were asked for: `absmax num_bits=4`."""
        for key in ("label", "method"):
            text = self.origin.get(key)
            if isinstance(text, str) and text:
                return one_line(text)[:MAX_LABEL]
        return "quantized"

    def why_not(self, method: str, dtype: str) -> str | None:
        """Reason that a cell of this checkpoint cannot run: another method than `saved`, or another dtype."""
        if method != "saved":
            source = self.origin.get("source")
            model = f" ({one_line(source)[:MAX_LABEL]})" if isinstance(source, str) else ""
            return (
                f"the checkpoint is quantized already ({self.label}), so that only method saved runs on it; "
                f"for {method} name the model that it was made from{model} under models"
            )
        if dtype != self.dtype:
            return f"the checkpoint is {self.dtype} and is never cast; give it dtypes: [{self.dtype}]"
        return None

    def calibrated_on(self, sha256: str) -> bool:
        """True where the method saw the text of this hash."""
        calibration = self.origin.get("calibration")
        return isinstance(calibration, dict) and calibration.get("sha256") == sha256


def saved_at(ref: ModelRef) -> Saved | None:
    """Description of a folder that `qbench quantize` wrote, else None; ModelError for a broken one."""
    if ref.weights.startswith("random:"):
        return None
    checkpoint = locate(ref.source, ref.revision, allow_pickle=ref.allow_pickle, code=ref.trust_remote_code)
    return read_saved(checkpoint.folder) if checkpoint.quantized else None


def read_saved(folder: Path) -> Saved:
    """The folder's own description; ModelError where it cannot be read."""
    path = folder / FACTS
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        dtype, origin = _DTYPES[known["dtype"]], known.get("origin")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is no description of a quantized checkpoint: {type(error).__name__}: {error}"
        ) from error
    return Saved(dtype, origin if isinstance(origin, dict) else {})

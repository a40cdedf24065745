"""Short names of cells: `gptq 4-bit g64` for `gptq num_bits=4 strategy=group group_size=64`.

Only what a suite wrote as `key=value` is shortened; a label of somebody's own stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qbench.report.view.cells import cut

LONGEST = 120
"""Characters of a label or a method in a sentence."""
_BARE = ("strategy", "format")
_WORDS = {
    "activations=none": "weights only",
    "activations=dynamic": "dynamic activations",
    "activations=static": "static activations",
    "symmetric=true": "symmetric",
    "symmetric=false": "asymmetric",
}


def name_of(row: Mapping[str, Any]) -> str:
    """The short name, with the method where it does not say it; cut where it is too long for a sentence."""
    label, method = cut(short(row["label"] or row["method"]), LONGEST), cut(row["method"], LONGEST)
    return label if method.lower() in label.lower() else f"{label} ({method})"


def short(label: str) -> str:
    """The label with the field's usual words for its parameters."""
    parts = label.split(" ")
    grouped = any(part.startswith("group_size=") and part != "group_size=null" for part in parts)
    return " ".join(_word(part) for part in parts if not (grouped and part == "strategy=group"))


def _word(part: str) -> str:
    key, _, value = part.partition("=")
    if key == "num_bits" and value.isdigit():
        return f"{value}-bit"
    if key == "group_size" and value.isdigit():
        return f"g{value}"
    return value if key in _BARE and value.isalnum() else _WORDS.get(part, part)

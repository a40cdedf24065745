"""The section `gate` of a suite: from which change on a number counts as worse, and how sure the gate must
be.

No cell's id depends on it: it judges numbers, and changes none. Its thresholds are fields made of the metric
table (`qbench.results.table.metrics`), a field for every metric that declares a gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model

from qbench.fields import Rule, Spec
from qbench.results.columns.column import Column
from qbench.results.table.columns import columns

MOST = 1000.0
OFF = math.inf
"""`false` in a suite: no change is worse than that."""


def _at_least(least: float) -> Callable[[object], object]:
    """Reads a threshold; raises ValueError for anything else."""

    def read(value: object) -> object:
        if value is False:
            return OFF
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= MOST:
            raise ValueError(f"should be a number from {least:g} to {MOST:g}, or false not to gate it")
        return float(value)

    return read


def _field(column: Column) -> Any:
    """Type and description of a column's threshold, for `create_model`."""
    assert column.gate is not None
    least = 1 if column.gate.by == "factor" else 0
    written = Annotated[float, Field(ge=least, le=MOST)] | Literal[False]
    kind = Annotated[float | None, BeforeValidator(_at_least(least), json_schema_input_type=written)]
    usual = column.gate.threshold
    by_default = "not gated" if usual is None else f"{usual:g}"
    change = (
        "factor on, such as 1.03" if least else f"difference on{f', {column.unit}' if column.unit else ''}"
    )
    said = (
        f"{column.title}, {column.description}: worse from this {change}; false: off; default: {by_default}"
    )
    return kind, Field(None, description=said)


class _Thresholds(Spec):
    """From which change on a metric counts as worse. Left out: the default of the metric table."""

    def thresholds(self) -> dict[str, float]:
        """Metric → threshold, infinite for one that is not gated; only those that the suite names."""
        said = {name: getattr(self, name) for name in ThresholdsSpec.model_fields}
        return {name: value for name, value in said.items() if value is not None}


if TYPE_CHECKING:

    class ThresholdsSpec(_Thresholds):
        """A threshold for every metric that can be gated."""

else:
    ThresholdsSpec = create_model(
        "ThresholdsSpec",
        __base__=_Thresholds,
        __doc__=_Thresholds.__doc__,
        __module__=__name__,
        **{name: _field(column) for name, column in columns().items() if column.gate},
    )


class GateOverrideSpec(ThresholdsSpec):
    """Other thresholds for some cells."""

    match: Rule = Field(description="Which cells, as under include: {method: gptq}; the last match wins")


class GateSpec(ThresholdsSpec):
    """Rules by which a new version counts as worse than an old one (`qbench gate`)."""

    alpha: float = Field(
        0.05, gt=0, le=0.5, description="Most probability of any false alarm among all cells × metrics"
    )
    correction: Literal["holm", "bh"] = Field(
        "holm",
        description="holm: alpha bounds the probability of any false alarm; bh: the share of false ones "
        "among the alarms (Benjamini-Hochberg)",
    )
    budget_s: float = Field(
        3600.0, gt=0, le=604_800, description="Most seconds of interleaved timing in one gate"
    )
    kernels: bool = Field(True, description="A layer that runs another kernel than before is worse")
    codes: bool = Field(True, description="A layer with other codes than before is worse")
    overrides: list[GateOverrideSpec] = Field(
        [], max_length=1000, description="Other thresholds for some cells; the last match wins"
    )

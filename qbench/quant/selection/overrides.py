"""Per-layer overrides: another parametrization of the method, or another method, for layers by pattern."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.errors import MethodError
from qbench.json_object import JsonObject
from qbench.quant.method.base import Method
from qbench.quant.method.registry import available, make, method_class


@dataclass(frozen=True)
class Override:
    pattern: str
    method: Method
    method_name: str


def overrides(method: Method, entries: list[JsonObject]) -> list[Override]:
    """`[{pattern: "*.down_proj", num_bits: 8}, {pattern: …, method: none}]`, in order; the last match wins.

    Parameters go on top of the cell's own; beside `method: NAME`, on top of that method's defaults.
    """
    return [_override(method, dict(entry)) for entry in entries]


def _override(method: Method, entry: JsonObject) -> Override:
    pattern = entry.pop("pattern", None)
    if not isinstance(pattern, str):
        raise MethodError(f"layers.overrides: {entry} needs a pattern, such as '*.down_proj'")
    name = entry.pop("method", None)
    if name is None and not entry:
        raise MethodError(f"layers.overrides: {pattern!r} changes nothing; give it parameters or a method")
    try:
        if name is None:
            return Override(pattern, with_params(method, entry), registered_name(method))
        made = make(name, entry)
        if made.reads_checkpoint:
            raise MethodError(f"method {name!r} is for whole checkpoints; to leave layers say method: none")
        return Override(pattern, made, name)
    except MethodError as error:
        raise MethodError(f"layers.overrides, {pattern!r}: {error}") from error


def with_params(method: Method, params: JsonObject) -> Method:
    """The method with some parameters changed, checked as the registry checks them.

    A strategy other than group drops the inherited group size, which would have no meaning.
    """
    inherited = method.params()
    if params.get("strategy", "group") != "group" and "group_size" in inherited:
        inherited["group_size"] = None
    name = registered_name(method)
    if name in available() and method_class(name) is type(method):
        return make(name, {**inherited, **params})
    try:
        return type(method)(**{**inherited, **params})
    except (TypeError, ValueError) as error:
        raise MethodError(f"{name}: {error}") from error


def registered_name(method: Method) -> str:
    """The method's registered name, or its class's name where it was made without the registry."""
    cls = type(method)
    for name, source in available().items():
        if source == "built-in":
            if cls.__module__ == f"qbench.methods.{name}":
                return name
        elif method_class(name) is cls:
            return name
    return cls.__name__

"""Methods by name; a built-in method's name is that of its file.

Built-ins are the files of `methods/` (installed as `qbench.methods`); third parties register through the
entry-point group `qbench.methods`, whose value names a `Method` subclass. Nothing is imported
until asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from qbench.errors import MethodError, did_you_mean
from qbench.quant.method.base import Method

GROUP = "qbench.methods"


def available() -> dict[str, str]:
    """Method name → where it comes from (`built-in` or the distribution), without importing any."""
    import qbench.methods

    names = {
        module.name: "built-in"
        for module in pkgutil.iter_modules(qbench.methods.__path__)
        if not module.name.startswith("_")
    }
    for name, point in _plugins().items():
        if name in names:
            raise MethodError(
                f"two methods are called {name!r}: a built-in one and {point.value}; rename yours"
            )
        names[name] = point.dist.name if point.dist else point.value
    return dict(sorted(names.items()))


def method_class(name: str) -> type[Method]:
    """The class behind a name; MethodError with the choices for an unknown one."""
    source = available().get(name)
    if source is None:
        raise MethodError(f"no method {name!r}; {did_you_mean(name, available())}")
    if source != "built-in":
        return _checked(name, _plugins()[name].load())
    module = importlib.import_module(f"qbench.methods.{name}")
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Method) and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise MethodError(f"methods/{name}.py must define one Method, it defines {len(found)}")
    return found[0]


def make(name: str, params: dict[str, Any]) -> Method:
    """A method with its parameters checked by type and name; MethodError names each wrong one."""
    cls = method_class(name)
    known = parameters(cls)
    for key in params:
        if key not in known:
            raise MethodError(f"method {name!r} has no parameter {key!r}; {did_you_mean(key, known)}", key)
    hints = typing.get_type_hints(cls)
    fields: dict[str, Any] = {key: (hints[key], parameter.default) for key, parameter in known.items()}
    checker = create_model(cls.__name__, __config__=ConfigDict(strict=True), **fields)
    try:
        return cls(**checker.model_validate(params).model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "parameters"
        raise MethodError(f"method {name!r}, {key} = {first['input']!r}: {first['msg']}", key) from error
    except ValueError as error:
        raise MethodError(f"method {name!r}: {error}") from error


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    default: Any


def parameters(cls: type[Method]) -> dict[str, Parameter]:
    """The parameters of a method by name, with the type as written and the default."""
    return {
        field.name: Parameter(field.name, str(field.type), field.default) for field in dataclasses.fields(cls)
    }


def _plugins() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in _points(entry_points, tuple(sys.path)):
        if point.name in found and found[point.name].value != point.value:
            raise MethodError(
                f"two plugins call a method {point.name!r}: {found[point.name].value}, {point.value}"
            )
        found[point.name] = point
    return found


@functools.cache
def _points(read: Callable[..., Iterable[EntryPoint]], _path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points, read once for each path: that opens a file of every package, and each cell asks."""
    return tuple(read(group=GROUP))


def _checked(name: str, loaded: object) -> type[Method]:
    if not (inspect.isclass(loaded) and issubclass(loaded, Method)):
        raise MethodError(f"the entry point {name!r} names {loaded!r}, which is no subclass of qbench.Method")
    return loaded

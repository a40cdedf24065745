"""Executors by name: `local`, and those that others register under the entry points `qbench.executors`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import entry_points

from qbench.errors import QbenchError, did_you_mean
from qbench.run.executors.executor import Executor

GROUP = "qbench.executors"
BUILT_IN = {"local": "qbench.run.executors.local.executor:LocalExecutor"}


def available() -> dict[str, str]:
    """Name → `module:class`, without importing any; QbenchError where two have one name."""
    found = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        if found.setdefault(point.name, point.value) != point.value:
            raise QbenchError(
                f"two executors are called {point.name!r}: {found[point.name]} and {point.value}; rename one"
            )
    return found


def executor_class(name: str) -> type[Executor]:
    """The class behind a name; QbenchError with the choices for an unknown one."""
    value = available().get(name)
    if value is None:
        raise QbenchError(f"no executor {name!r}; {did_you_mean(name, available())}")
    module, _, attribute = value.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever the plugin's code raises
        raise QbenchError(
            f"executor {name!r}: {value} does not load: {type(error).__name__}: {error}"
        ) from error
    if not (inspect.isclass(found) and issubclass(found, Executor)):
        raise QbenchError(f"executor {name!r} names {value}, which is no subclass of Executor")
    return found


def opened(asked: Executor | Callable[[], Executor] | str) -> AbstractContextManager[Executor]:
    """An executor of a name, which ends with the context; or one that is lent, or given by a function when it
    is needed, which does not."""
    if isinstance(asked, str):
        return executor_class(asked)()
    return nullcontext(asked if isinstance(asked, Executor) else asked())

"""Discovery of kernels: `KERNELS` of the files in `cpu/`, `cuda/` and `portable/`, and plugins.

A plugin is an entry point of the group `qbench.kernels` that names a `Kernel`. Two kernels of one name are an
error. A plugin that cannot be loaded is kept with its reason, for the listing and for cells that ask for it.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from qbench.errors import KernelError, did_you_mean
from qbench.quant.kernels.base.kernel import Choice, Kernel

GROUP = "qbench.kernels"
FOLDERS = ("cpu", "cuda", "portable")
BUILT_IN = "built-in"


@dataclass(frozen=True)
class Broken:
    """A plugin that cannot be loaded."""

    name: str
    source: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """Every kernel of this process."""

    kernels: tuple[Kernel, ...]
    """Those that claim rows first, in the order in which they are tried; then those by name only."""
    sources: dict[str, str]
    """Kernel name → `built-in`, or the distribution that brings it."""
    broken: tuple[Broken, ...]

    @functools.cached_property
    def choices(self) -> tuple[tuple[Choice, Kernel], ...]:
        """Every claim with its kernel, in the order in which they are tried."""
        claims = [(choice, entry) for entry in self.kernels for choice in entry.choices]
        return tuple(sorted(claims, key=lambda claim: (claim[0].rank, claim[1].name)))

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """Row counts at which the fastest kernel may change, 1 first."""
        limits = [(entry.min_rows, entry.max_rows) for entry in self.kernels]
        limits += [(choice.min_rows, choice.max_rows) for choice, _ in self.choices]
        firsts = {first for first, _ in limits}
        return tuple(sorted({1} | firsts | {last + 1 for _, last in limits if last}))


def built_in() -> tuple[Kernel, ...]:
    """The kernels of this package, without any plugin. Imports torch, but not Triton."""
    found: list[Kernel] = []
    for folder in FOLDERS:
        package = importlib.import_module(f"qbench.quant.kernels.{folder}")
        for module in pkgutil.iter_modules(package.__path__):
            found += importlib.import_module(f"{package.__name__}.{module.name}").KERNELS
    return tuple(found)


@functools.cache
def registered() -> Registry:
    """Built-in kernels and plugins; KernelError naming both sources where two share a name."""
    given = [(entry, BUILT_IN) for entry in built_in()]
    broken = []
    for source, point in _points():
        try:
            given.append((_loaded(point), source))
        except Exception as error:
            broken.append(Broken(point.name, source, f"{type(error).__name__}: {error}"))
    found: dict[str, tuple[Kernel, str]] = {}
    for entry, source in given:
        if entry.name in found:
            raise KernelError(
                f"two kernels are called {entry.name!r}: from {found[entry.name][1]} and from {source}; "
                "rename one"
            )
        found[entry.name] = entry, source
    kernels = sorted((entry for entry, _ in found.values()), key=_place)
    return Registry(tuple(kernels), {name: source for name, (_, source) in found.items()}, tuple(broken))


def kernels() -> tuple[Kernel, ...]:
    """Every kernel: those that claim rows first, in the order in which they are tried."""
    return registered().kernels


def kernel(name: str) -> Kernel:
    """The kernel of this name; KernelError with the choices for an unknown one."""
    registry = registered()
    for entry in registry.kernels:
        if entry.name == name:
            return entry
    for plugin in registry.broken:
        if plugin.name == name:
            raise KernelError(f"kernel {name!r} of {plugin.source} cannot be loaded: {plugin.reason}")
    known = [entry.name for entry in registry.kernels] + ["auto"]
    raise KernelError(f"no kernel {name!r}; {did_you_mean(name, known)}")


def _place(entry: Kernel) -> tuple[bool, int, str]:
    return not entry.choices, min((choice.rank for choice in entry.choices), default=0), entry.name


def _points() -> Iterator[tuple[str, EntryPoint]]:
    """Distribution and entry point, each once: a folder may stand on the path twice."""
    seen = set()
    for point in entry_points(group=GROUP):
        source = point.dist.name if point.dist else point.value
        if (source, point.name, point.value) not in seen:
            seen.add((source, point.name, point.value))
            yield source, point


def _loaded(point: EntryPoint) -> Kernel:
    entry = point.load()
    if not isinstance(entry, Kernel):
        raise TypeError(f"{point.value} is a {type(entry).__name__}, not a qbench.quant.Kernel")
    return entry

"""Choice of the layers to quantize and of their methods: patterns, ties and per-layer overrides.

A target is an `nn.Linear` or GPT-2's `Conv1D`. A weight that another module shares (the tied output
embedding) is left alone, because replacing it would untie it. Nothing is left out silently: every
layer that could have been a target and is not stands in `Selection.left` with its reason.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import Tensor, nn

from qbench.errors import MethodError
from qbench.json_object import JsonObject
from qbench.quant.method.base import Layer, Method
from qbench.quant.selection.overrides import Override, overrides, registered_name


@dataclass(frozen=True)
class Target:
    """One layer to quantize. Holds no tensor, so that the float weight can go as soon as it is packed."""

    layer: Layer
    method: Method
    method_name: str
    aliases: tuple[str, ...] = ()
    """Further names under which the model holds the very same module."""


@dataclass
class Selection:
    targets: list[Target] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    """Name of each linear layer that stays in floating point → why."""


def select(model: nn.Module, method: Method, layers: JsonObject) -> Selection:
    """The targets of `method` in `model`, in the order of the modules.

    `layers` has `include` (default `["*"]`), `exclude` and `overrides`, as in a suite; patterns are
    matched against dotted names, with `*` crossing dots. Raises MethodError for an unknown key, a
    pattern or an override that matches nothing, and layers that share one weight among themselves.
    """
    unknown = set(layers) - {"include", "exclude", "overrides"}
    if unknown:
        raise MethodError(
            f"layers: unknown key {sorted(unknown)[0]!r}; choose from: exclude, include, overrides"
        )
    found = candidates(model)
    ties = tied(model, found)
    include, exclude = layers.get("include") or ["*"], layers.get("exclude") or []
    rules = overrides(method, layers.get("overrides") or [])
    chosen = Selection()
    for name, (layer, aliases) in found.items():
        reason = _left_out(name, include, exclude, ties)
        if reason is not None:
            chosen.left[name] = reason
            continue
        used, used_name = _last_match(name, rules) or (method, registered_name(method))
        if used.quantizes:
            chosen.targets.append(Target(layer, used, used_name, aliases))
        else:
            chosen.left[name] = f"an override says method {used_name!r}"
    _check_patterns(found, ties, include, exclude, [rule.pattern for rule in rules])
    _check_overrides(chosen, rules)
    _refuse_shared(model, chosen)
    return chosen


def candidates(model: nn.Module) -> dict[str, tuple[Layer, tuple[str, ...]]]:
    """Every linear layer of the model by its first name, with its further names."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if kind(module) is not None:
            names.setdefault(module, []).append(name)
    return {alias[0]: (_layer(alias[0], module), tuple(alias[1:])) for module, alias in names.items()}


def kind(module: nn.Module) -> str | None:
    """`Linear`, `Conv1D`, or None. Subclasses do more than multiply (and may read `.weight`): not ours."""
    from transformers.pytorch_utils import Conv1D

    if type(module) is nn.Linear:
        return "Linear"
    return "Conv1D" if type(module) is Conv1D else None


def tied(model: nn.Module, found: dict[str, tuple[Layer, tuple[str, ...]]]) -> dict[str, str]:
    """Name of each linear layer whose weight a module of another kind holds too → that parameter's name."""
    ours = {f"{name}.weight" for first, (_, aliases) in found.items() for name in (first, *aliases)}
    others = {
        _place(parameter): name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name not in ours
    }
    places = {name: _place(model.get_parameter(f"{name}.weight")) for name in found}
    return {name: others[place] for name, place in places.items() if place in others}


def near_misses(pattern: str, names: list[str]) -> str:
    """A hint for a pattern that matches none of `names`: near patterns, with layer numbers as `*`."""
    shapes = dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    ends = dict.fromkeys("*." + name.rpartition(".")[2] for name in names if "." in name)
    near = difflib.get_close_matches(pattern, [*ends, *shapes], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{hint}the linear layers are: {', '.join(shapes) or 'none'}"


def _layer(name: str, module: nn.Module) -> Layer:
    what = kind(module)
    weight = module.weight
    if what is None or not isinstance(weight, Tensor):
        raise MethodError(f"{name}: {type(module).__name__} is no linear layer with a weight")
    out_features, in_features = weight.shape if what == "Linear" else weight.shape[::-1]
    return Layer(name, what, in_features, out_features)


def _left_out(name: str, include: list[str], exclude: list[str], ties: dict[str, str]) -> str | None:
    """The reason why a layer is no target, or None."""
    if not any(fnmatchcase(name, pattern) for pattern in include):
        return "no include pattern matches"
    hits = [pattern for pattern in exclude if fnmatchcase(name, pattern)]
    if hits:
        return f"excluded by {hits[-1]!r}"
    return f"shares its weight with {ties[name]}" if name in ties else None


def _last_match(name: str, rules: list[Override]) -> tuple[Method, str] | None:
    hits = [rule for rule in rules if fnmatchcase(name, rule.pattern)]
    return (hits[-1].method, hits[-1].method_name) if hits else None


def _check_patterns(
    found: JsonObject, ties: dict[str, str], include: list[str], exclude: list[str], override: list[str]
) -> None:
    """Raises MethodError for a pattern without a layer, or an include of tied layers only."""
    names = list(found)
    for key, patterns in (("include", include), ("exclude", exclude), ("overrides", override)):
        for pattern in patterns:
            hits = [name for name in names if fnmatchcase(name, pattern)]
            if not hits:
                raise MethodError(
                    f"layers.{key}: {pattern!r} matches no layer; {near_misses(pattern, names)}"
                )
            if key != "exclude" and all(name in ties for name in hits):
                raise MethodError(
                    f"layers.{key}: {pattern!r} matches only {hits[0]}, which shares its weight with "
                    f"{ties[hits[0]]} and stays unquantized; untie the model or drop the pattern"
                )


def _check_overrides(chosen: Selection, rules: list[Override]) -> None:
    """Raises MethodError for an override whose layers are all left out for other reasons."""
    for rule in rules:
        hits = [name for name in chosen.left if fnmatchcase(name, rule.pattern)]
        targeted = any(fnmatchcase(target.layer.name, rule.pattern) for target in chosen.targets)
        if rule.method.quantizes and not targeted:
            raise MethodError(
                f"layers.overrides: {rule.pattern!r} has no effect: {hits[0]} is left, {chosen.left[hits[0]]}"
            )


def _refuse_shared(model: nn.Module, chosen: Selection) -> None:
    """Raises MethodError where a target shares its weight with another linear layer."""
    owners: dict[tuple[int, ...], str] = {}
    targets = {target.layer.name for target in chosen.targets}
    for name in sorted([*chosen.left, *targets]):
        place = _place(model.get_parameter(f"{name}.weight"))
        other = owners.setdefault(place, name)
        if other != name and {name, other} & targets:
            raise MethodError(
                f"{other} and {name} share one weight, which quantizing would untie; "
                "exclude both, or untie the model"
            )


def _place(weight: Tensor) -> tuple[int, ...]:
    """Address of a weight, by which two names of one tensor are recognised; its identity on meta."""
    return (id(weight),) if weight.is_meta else (weight.device.index or 0, weight.data_ptr())

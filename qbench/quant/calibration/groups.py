"""Layers that share an input, in the order of running: observed in one forward pass, not read from names."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from qbench.errors import MethodError
from qbench.quant.calibration.blocks import Stack, block_input
from qbench.quant.method.inputs import Inputs
from qbench.quant.method.statistic import Statistic
from qbench.quant.selection.targets import Target


@dataclass
class Group:
    """Layers whose inputs are the same tensors."""

    targets: list[Target]
    """Members in the order of running; inputs are gathered at the first."""
    calls: int
    """Times that each of them ran in the forward that was watched."""
    inputs: Inputs | None = field(default=None)

    @property
    def leader(self) -> str:
        return self.targets[0].layer.name

    @property
    def statistics(self) -> frozenset[Statistic]:
        """Statistics that any of the layers' methods asks for."""
        return frozenset(name for target in self.targets for name in target.method.statistics)


def trace(stack: Stack, targets: list[Target], ids: Tensor) -> dict[int, list[Group]]:
    """Groups of layers by stage, in the order in which they run, from one forward of the ids (1, tokens).

    A stage is the index of a block; −1 stands for what runs before the blocks, their number for what runs
    after them. Layers that did not run (experts that no token chose) are groups of their own, the last ones.
    Proves on the way that the blocks run one after the other; see `Stack.prove`.
    """
    watch = _Watch(stack)
    handles = []
    for target in targets:
        module = stack.model.get_submodule(target.layer.name)
        hook = partial(watch.see, target.layer.name)
        handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        stack.prove(ids)
    finally:
        for handle in handles:
            handle.remove()
    return _grouped(stack, targets, watch)


def refuse_hooks(model: nn.Module, stack: Stack, targets: list[Target]) -> None:
    """Raises MethodError where another library stands between a layer and its inputs.

    A hook on a layer would be lost with the layer; a forward that was replaced, on a layer or on a block
    (accelerate's dispatch to several devices and to disk), would be run around.
    """
    for index, block in enumerate(stack.blocks):
        _refuse_replaced(f"{stack.name}.{index}", block)
    for target in targets:
        name = target.layer.name
        module = model.get_submodule(name)
        _refuse_replaced(name, module)
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            what = getattr(hook, "__qualname__", type(hook).__name__)
            raise MethodError(
                f"{name} has a forward hook, {what} of {hook.__module__}, which would go with the layer; "
                "remove the hook, or exclude the layer"
            )


def _refuse_replaced(name: str, module: nn.Module) -> None:
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        raise MethodError(
            f"{name} is hooked by accelerate ({type(hook).__name__}): its inputs cannot be watched; load the "
            "model on one device, or take the hooks away with accelerate.hooks.remove_hook_from_submodules"
        )
    if "forward" in vars(module):
        replaced = vars(module)["forward"]
        what = getattr(replaced, "__qualname__", type(replaced).__name__)
        raise MethodError(f"{name}: its forward was replaced by {what}; undo that before calibrating")


class _Watch:
    """Hooks that keep every target's inputs of one short forward, so that tensors can be told apart."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.given: dict[str, list[Tensor]] = defaultdict(list)
        """Groups in the order in which their layers first run."""
        self.keys: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.early: set[str] = set()
        """Layers that ran before the first block was through."""

    def see(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x, _ = block_input(name, args, kwargs)
        self.given[name].append(x)
        self.keys[name].append((x.data_ptr(), x.shape, x.stride(), x.dtype, x._version))
        if not self.stack.started:
            self.early.add(name)


def _grouped(stack: Stack, targets: list[Target], watch: _Watch) -> dict[int, list[Group]]:
    order = {name: place for place, name in enumerate(watch.given)}
    found: dict[tuple[Any, ...], Group] = {}
    stages: dict[int, list[Group]] = defaultdict(list)
    for target in sorted(targets, key=lambda target: order.get(target.layer.name, len(order))):
        name = target.layer.name
        stage = _stage(stack, name, name in watch.early)
        keys = tuple(watch.keys.get(name, ()))
        group = found.get((stage, keys)) if keys else None
        if group is None:
            group = found[stage, keys or name] = Group([], len(keys))
            stages[stage].append(group)
        group.targets.append(target)
    return stages


def _stage(stack: Stack, name: str, early: bool) -> int:
    if name.startswith(f"{stack.name}."):
        return int(name.removeprefix(f"{stack.name}.").partition(".")[0])
    return -1 if early else len(stack.blocks)

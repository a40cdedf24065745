"""A model's decoder blocks, found without any name, and the model run around them.

`find_blocks` takes the outermost ModuleList that holds the layers asked for. `Stack` runs the model with
every block replaced: the input of the first block and the other arguments of each block are kept, and later
the modules after the last block can be run on hidden states that were computed elsewhere. Before that it
proves on a few tokens that hidden states pass from block to block untouched, so that running block after
block is what the model does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qbench.errors import MethodError
from qbench.quant.selection.targets import candidates


class Stop(Exception):
    """Exception that ends a forward pass whose rest is not needed."""


@dataclass
class Call:
    """Arguments of a block beside the hidden states."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class Captured:
    """One batch on its way through the blocks."""

    ids: Tensor
    hidden: Tensor
    """(windows, tokens, width), in the model's dtype: the only copy of it."""
    calls: list[Call]
    """One for each block."""


def find_blocks(model: nn.Module, names: list[str]) -> Stack:
    """The outermost ModuleList that holds layers of these names, or where none does, any linear layer.

    Raises MethodError where there is none, or more than one.
    """
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    holding = _holding(outer, names) or _holding(outer, list(candidates(model)))
    if not holding:
        raise MethodError(
            f"calibration goes block by block, and {type(model).__name__} has no list of blocks: no "
            "ModuleList holds a linear layer; choose a method that needs no calibration"
        )
    if len(holding) > 1:
        raise MethodError(
            f"calibration goes block by block, and layers stand in more than one list of blocks: "
            f"{', '.join(holding)}; let layers.include name one of them"
        )
    found = model.get_submodule(holding[0])
    assert isinstance(found, nn.ModuleList)
    blocks = list(found)
    if len({id(block) for block in blocks}) < len(blocks):
        raise MethodError(f"{holding[0]} holds one block twice; {_ADVICE}")
    return Stack(model, holding[0], blocks)


def _holding(lists: list[str], names: list[str]) -> list[str]:
    return [one for one in lists if any(name.startswith(f"{one}.") for name in names)]


def block_input(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Call]:
    """The hidden states that a module is given, and everything else."""
    if args:
        first, rest = args[0], Call(args[1:], kwargs)
    elif kwargs:
        key = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
        first, rest = kwargs[key], Call((), {other: value for other, value in kwargs.items() if other != key})
    else:
        first, rest = None, Call((), {})
    if not isinstance(first, Tensor):
        raise MethodError(
            f"{name} is called without a tensor to calibrate on, but with {type(first).__name__}"
        )
    return first, rest


@dataclass
class Stack:
    """The blocks of a model, to be run one after the other."""

    model: nn.Module
    name: str
    blocks: list[nn.Module]
    _rest: list[tuple[Any, ...] | None] = field(default_factory=list)
    """Outputs of a block beside hidden states; None for a block that returns a tensor."""

    def run_block(self, index: int, batch: Captured) -> Tensor:
        """The hidden states after a block."""
        call = batch.calls[index]
        return _hidden_of(self.blocks[index](batch.hidden, *call.args, **call.kwargs))

    def prove(self, ids: Tensor) -> None:
        """One plain forward; raises MethodError unless each block is given what the one before returned."""
        proof = _Proof(self.name)
        handles = []
        for index, block in enumerate(self.blocks):
            before, after = partial(proof.before, index), proof.after
            handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(block.register_forward_hook(after))
        self._rest = proof.returned
        try:
            self.forward(ids)
        finally:
            for handle in handles:
                handle.remove()
        if len(self._rest) != len(self.blocks):
            raise MethodError(
                f"{len(self._rest)} of the {len(self.blocks)} blocks of {self.name} ran; {_ADVICE}"
            )

    @property
    def started(self) -> bool:
        """True once the first block has returned since `prove` began."""
        return bool(self._rest)

    def capture(self, batches: list[Tensor]) -> list[Captured]:
        """Input of the first block for each batch of ids, and the arguments that all blocks get beside it."""
        pool: list[Tensor] = []
        return [self._captured(ids, _Shared(pool)) for ids in batches]

    def _captured(self, ids: Tensor, shared: _Shared) -> Captured:
        seen: list[Tensor] = []
        calls: list[Call] = []

        def stand_aside(index: int, hidden: Tensor, call: Call) -> Tensor:
            seen.append(hidden)
            calls.append(call)
            if index + 1 == len(self.blocks):
                raise Stop
            return hidden

        self._around(ids, stand_aside)
        return Captured(ids, seen[0], [shared.call(call) for call in calls])

    def finish(self, batch: Captured) -> None:
        """Runs the model on hidden states that left the last block: what comes after, for its hooks."""

        def stand_aside(index: int, hidden: Tensor, call: Call) -> Tensor:
            return batch.hidden if index + 1 == len(self.blocks) else hidden

        self._around(batch.ids, stand_aside)

    def forward(self, ids: Tensor) -> None:
        """The model itself; a `Stop` ends it early."""
        with suppress(Stop):
            self.model(input_ids=ids, use_cache=False)

    def _around(self, ids: Tensor, instead: Callable[[int, Tensor, Call], Tensor]) -> None:
        """The model with `instead` in place of every block."""
        with self._replaced(instead):
            self.forward(ids)

    @contextmanager
    def _replaced(self, instead: Callable[[int, Tensor, Call], Tensor]) -> Iterator[None]:
        def stand_in(index: int) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                out = instead(index, *block_input(self._named(index), args, kwargs))
                rest = self._rest[index]
                return out if rest is None else (out, *rest)

            return forward

        try:
            for index, block in enumerate(self.blocks):
                object.__setattr__(block, "forward", stand_in(index))
            yield
        finally:
            for block in self.blocks:
                vars(block).pop("forward", None)

    def _named(self, index: int) -> str:
        return f"{self.name}.{index}"


class _Proof:
    """Hooks that follow the hidden states through one forward."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.passed: Tensor | None = None
        self.given: tuple[Tensor, int] | None = None
        self.returned: list[tuple[Any, ...] | None] = []

    def before(self, index: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = f"{self.name}.{index}"
        given, call = block_input(name, args, kwargs)
        if index != len(self.returned):
            raise MethodError(f"{name} runs out of turn; {_ADVICE}")
        if self.passed is not None and given is not self.passed and not torch.equal(given, self.passed):
            raise MethodError(f"{name} is not given what the block before it returned; {_ADVICE}")
        _refuse_caches(name, call)
        self.given = given, given._version

    def after(self, _: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        assert self.given is not None
        given, version = self.given
        if given._version != version:
            raise MethodError(f"a block of {self.name} changes its input in place; {_ADVICE}")
        self.passed = _hidden_of(out)
        self.returned.append(out[1:] if isinstance(out, tuple) else None)


_ADVICE = "this architecture cannot be calibrated block by block"


class _Shared:
    """Replaces tensors that are equal to one of the pool by that one: masks and positions are all alike."""

    def __init__(self, pool: list[Tensor]) -> None:
        self.pool = pool
        self.known: dict[int, Tensor] = {}

    def call(self, call: Call) -> Call:
        return Call(self.value(call.args), self.value(call.kwargs))

    def value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in self.known:
                self.known[id(value)] = self._pooled(value)
            return self.known[id(value)]
        if type(value) in (tuple, list):
            return type(value)(self.value(item) for item in value)
        if type(value) is dict:
            return {key: self.value(item) for key, item in value.items()}
        return value

    def _pooled(self, value: Tensor) -> Tensor:
        for other in self.pool:
            if other is value or (
                other.shape == value.shape and other.dtype == value.dtype and torch.equal(other, value)
            ):
                return other
        self.pool.append(value)
        return value


def _hidden_of(out: Any) -> Tensor:
    hidden = out[0] if isinstance(out, tuple) else out
    if not isinstance(hidden, Tensor):
        raise MethodError(f"a block returned {type(hidden).__name__} and no hidden states; {_ADVICE}")
    return hidden


def _refuse_caches(name: str, call: Call) -> None:
    """Raises MethodError for a block that fills a cache: its outputs differ when it runs twice."""
    for value in (*call.args, *call.kwargs.values()):
        if callable(getattr(value, "update", None)) and not isinstance(value, dict):
            raise MethodError(f"{name} is given a {type(value).__name__} though no cache was asked for")

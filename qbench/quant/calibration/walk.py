"""Quantization of a model block by block on a calibration text.

The input of a block is the output of the *quantized* blocks before it. Its layers' inputs are gathered by
hooks in one forward of the block as it is (stopped at the last input that is needed), then it is quantized,
and run again to make the next block's hidden states in place of the old ones. Layers whose input is the same
tensor share one `Inputs`. With `Method.one_by_one` the groups of layers that share an input take turns, in
the order in which they run, and each sees those before it quantized: one more forward for each group, stopped
where its input is known.

Memory beside the model holds: the hidden states of the calibration text once, in the model's dtype; what
one batch of `BATCH_TOKENS` needs on its way through one block; and the statistics of one block's distinct
inputs, or with `one_by_one` of one input (a Hessian is 4·K² bytes).

Layers before the blocks are calibrated first, layers after them (an untied head) last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qbench.errors import MethodError
from qbench.quant.calibration.blocks import Captured, Stack, Stop, block_input, find_blocks
from qbench.quant.calibration.groups import Group, refuse_hooks, trace
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.method.inputs import Inputs
from qbench.quant.selection.targets import Target

BATCH_TOKENS = {"cpu": 8192, "cuda": 32768}
"""Tokens that run through a block at a time; one window at least."""
PROOF_TOKENS = 16
"""Length of the prefix on which the model's structure is traced."""

Quantize = Callable[[Target], float]
"""Replaces one layer in the model; returns the seconds that count."""


@dataclass(frozen=True)
class Calibrated:
    seconds: float
    """Seconds of calibration and quantization, without those that `Quantize` leaves out."""
    tokens: int


@torch.no_grad()
def quantize_calibrated(
    model: nn.Module, targets: list[Target], windows: Tensor | None, quantize: Quantize
) -> Calibrated:
    """Quantizes every target; those whose method names statistics get `layer.inputs`.

    `windows` is int64 (samples, seqlen). Raises MethodError without any; for a model that has no list of
    blocks or does not run it one after the other; for a layer that another library has hooked, or that saw
    no token.
    """
    ids = _checked(targets, windows).to(next(model.parameters()).device)
    run = _Run(model, ids, targets, quantize)
    training = model.training
    model.eval()
    started = now_s(ids)
    try:
        run.all()
    finally:
        model.train(training)
    _release(model)
    return Calibrated(now_s(ids) - started - run.uncounted_s, ids.numel())


class _Run:
    """One calibration: the stack, its groups of layers, and the batches on their way."""

    def __init__(self, model: nn.Module, ids: Tensor, targets: list[Target], quantize: Quantize) -> None:
        self.model = model
        self.quantize = quantize
        self.uncounted_s = 0.0
        self.stack: Stack = find_blocks(model, [t.layer.name for t in targets if t.method.statistics])
        refuse_hooks(model, self.stack, targets)
        self.stages = trace(self.stack, targets, ids[:1, :PROOF_TOKENS])
        self.batches = list(torch.split(ids, max(1, BATCH_TOKENS[ids.device.type] // ids.shape[1])))

    def all(self) -> None:
        stack, last = self.stack, len(self.stack.blocks)
        needed = [stage for stage, groups in self.stages.items() if any(g.statistics for g in groups)]
        self._stage(-1, [partial(stack.forward, ids) for ids in self.batches])
        batches = stack.capture(self.batches) if max(needed) >= 0 else []
        for index in range(last):
            self._stage(index, [partial(stack.run_block, index, batch) for batch in batches])
            if index < max(needed):
                self._advance(index, batches)
        self._stage(last, [partial(stack.finish, batch) for batch in batches])

    def _stage(self, stage: int, forwards: list[Callable[[], Any]]) -> None:
        """Gathers and quantizes the groups of one stage, all at once or in turn."""
        groups = self.stages.get(stage, [])
        in_turn = any(target.method.one_by_one for group in groups for target in group.targets)
        for step in [[group] for group in groups] if in_turn else [groups]:
            self._gather([group for group in step if group.statistics], forwards)
            for group in step:
                self._quantize(group)

    def _gather(self, groups: list[Group], forwards: list[Callable[[], Any]]) -> None:
        if not groups:
            return
        watch = _Watch(groups)
        handles = [
            self.model.get_submodule(group.leader).register_forward_pre_hook(
                partial(watch.see, group), with_kwargs=True
            )
            for group in groups
        ]
        try:
            for forward in forwards:
                watch.begin()
                with suppress(Stop):
                    forward()
        finally:
            for handle in handles:
                handle.remove()

    def _quantize(self, group: Group) -> None:
        """Quantizes the layers of a group and frees its statistics."""
        for target in group.targets:
            if target.method.statistics and (group.inputs is None or not group.inputs.tokens):
                raise MethodError(
                    f"{target.layer.name} saw no token of the calibration text; "
                    "add text, or exclude the layer"
                )
            inputs = group.inputs if target.method.statistics else None
            started = time.perf_counter()
            counted = self.quantize(replace(target, layer=replace(target.layer, inputs=inputs)))
            self.uncounted_s += time.perf_counter() - started - counted
        group.inputs = None

    def _advance(self, index: int, batches: list[Captured]) -> None:
        for batch in batches:
            batch.hidden = self.stack.run_block(index, batch)
        _release(self.stack.blocks[index])


class _Watch:
    """Hooks that gather inputs, and stop a forward once it has shown all that is asked for."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self.seen: dict[str, int] = {}

    def begin(self) -> None:
        self.seen = dict.fromkeys((group.leader for group in self.groups), 0)

    def see(self, group: Group, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x, _ = block_input(group.leader, args, kwargs)
        if group.inputs is None:
            features = group.targets[0].layer.in_features
            group.inputs = Inputs(features, group.statistics, x.device)
        try:
            group.inputs.add(x)
        except MethodError as error:
            raise MethodError(f"{group.leader}: {error}") from error
        self.seen[group.leader] += 1
        if all(0 < one.calls <= self.seen[one.leader] for one in self.groups):
            raise Stop


def _checked(targets: list[Target], windows: Tensor | None) -> Tensor:
    if windows is None:
        needing = next(target for target in targets if target.method.statistics)
        raise MethodError(
            f"{needing.method_name} reads the inputs of {needing.layer.name} on a calibration text, "
            "and none was given; pass calibration=windows, int64 (samples, seqlen)"
        )
    if windows.dim() != 2 or windows.dtype != torch.int64 or windows.numel() == 0:
        raise MethodError(
            f"calibration is {windows.dtype} {tuple(windows.shape)}; it is int64 (samples, seqlen), "
            "one window at least"
        )
    return windows


def _release(part: nn.Module) -> None:
    """Frees kernels' prepared tensors and clears their log, so that a record holds measured calls only."""
    for module in part.modules():
        if isinstance(module, QuantizedLinear):
            module.release()


def now_s(tensor: Tensor) -> float:
    """perf_counter, once the tensor's device has done what it was asked."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()

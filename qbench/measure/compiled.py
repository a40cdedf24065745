"""Generation under torch.compile: prefill and decode step as one graph each, on a static KV cache.

The static cache of transformers has room for the whole generation from the start, so that every step has
the same shapes. On a CPU inductor writes C++; on a GPU the mode `reduce-overhead` records CUDA graphs. A
graph with a break would not be what is asked for, so that one is an error (`fullgraph`), and so is a graph
that would have to be compiled again (`dynamic=False`; each generation has code of its own).

What compiles counts as compiling: the first call on a CPU; on a GPU also the one that warms up and the one
that records. `agreement` compares the logits with those of eager mode on the same prompt and tokens.
"""

from __future__ import annotations

import os
import time
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from qbench.cell import EAGER
from qbench.errors import ModelError
from qbench.json_object import JsonObject
from qbench.measure.bench import Bench
from qbench.measure.generation import Generation
from qbench.measure.inductor import empty_caches
from qbench.quant.model.convert import quantized_layers

BACKEND = "inductor"
MODES = {"cpu": "default", "cuda": "reduce-overhead"}
FIRST_CALLS = {"cpu": 1, "cuda": 3}
"""Calls that belong to compiling."""
CHECKED_STEPS = 8
NOISE_FACTOR = 8.0
"""Logits of a compiled model may differ from eager's by so many times what eager's own differ between a step
at a time and all at once."""
EPSILONS = 16.0
"""… or by so many steps of the dtype at the largest logit, where that is more: fused loops round less often
than eager's. Seen: 3 steps with bf16 weights, 6 with int8 activations, half of that in float32."""

Run = Callable[[Tensor, Any], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Agreement:
    """Distance of compiled logits from eager's."""

    logits_compared: int
    max_abs_diff: float
    noise: float
    """Distance of eager's steps from eager's logits of the whole text at once."""
    max_abs_logit: float
    tokens_differ: int


@dataclass
class CompiledGeneration(Generation):
    """A generation whose two kinds of forward are compiled; `compile` comes first."""

    tokens: int = 1
    """Tokens to generate: the static cache has room for them and the prompt."""
    first_calls_s: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of the calls that compiled, by `prefill` and `decode`."""
    check: Agreement | None = None
    _steady: bool = False
    """True once everything is compiled: from then on compiling again is an error, not a slow step."""
    _replays: Counter[int] = field(default_factory=Counter)
    """Rows → forwards that a CUDA graph ran, past the layers' own counting."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._layers = [layer for _, layer in quantized_layers(self.model)]
        self._prefill, self._step = self._compiled(), self._compiled()

    @torch.inference_mode()
    def compile(self) -> None:
        """Compiles both forwards; ModelError where the model cannot be compiled."""
        from transformers import StaticCache

        empty_caches(os.getpid())
        length = self.prompt.shape[1] + self.tokens
        self.cache = StaticCache(config=self.model.config, max_cache_len=length)
        self.model(self.prompt, past_key_values=self.cache, use_cache=True, **self._keep)  # shapes the cache
        works = (
            {"prefill": self.prefill, "decode": self.step} if self.tokens > 1 else {"prefill": self.prefill}
        )
        self.first_calls_s = {name: [] for name in works}
        for _ in range(FIRST_CALLS[self.prompt.device.type]):
            for name, work in works.items():
                self.first_calls_s[name].append(self._timed(name, work))
        self._steady = True
        self._timed("prefill again", self.prefill)
        for _ in range(min(2, self.tokens - 1)):
            self._timed("the next step", self.step)

    def prefill(self) -> None:
        self.cache.reset()
        self._forward_by(self._prefill, self.prompt)

    def step(self) -> None:
        assert self.token is not None, "prefill comes first"
        self._forward_by(self._step, self.token)

    def rewind(self, tokens: int) -> None:
        for layer in self.cache.layers:
            if type(layer).__name__ != "StaticLayer":
                raise ModelError(f"a static cache of {type(layer).__name__} cannot be taken back; use eager")
            layer.cumulative_length.sub_(tokens)

    def finish(self) -> None:
        """Adds to the layers' counts what CUDA graphs ran without them."""
        for rows, calls in self._replays.items():
            for layer in self._layers:
                layer.credit(rows, calls)
        self._replays.clear()

    def facts(self) -> JsonObject:
        seconds = {f"{name}_s": values for name, values in self.first_calls_s.items()}
        check = asdict(self.check) if self.check else {}
        mode = MODES[self.prompt.device.type]
        return {"compile": {"mode": mode, "cold": True, **seconds, "check": check}}

    def _compiled(self) -> Run:
        """One graph for one shape."""
        model, keep = self.model, self._keep

        def run(ids: Tensor, cache: Any) -> tuple[Tensor, Tensor]:
            out = model(ids, past_key_values=cache, use_cache=True, **keep)
            last = out.logits[:, -1]
            return last.argmax(-1, keepdim=True), last

        # torch keeps compiled graphs by code object: with one of its own, a graph meets no other's guards.
        own = types.FunctionType(run.__code__.replace(), globals(), "run", None, run.__closure__)
        mode = MODES[self.prompt.device.type] if BACKEND == "inductor" else None
        compiled: Run = torch.compile(own, fullgraph=True, dynamic=False, backend=BACKEND, mode=mode)
        return compiled

    def _forward_by(self, call: Run, ids: Tensor) -> None:
        stance = "fail_on_recompile" if self._steady else "default"
        with torch.compiler.set_stance(stance):  # 6 µs
            if ids.device.type == "cuda":
                self._replay(call, ids)
            else:
                self.token, self.logits = call(ids, self.cache)

    def _replay(self, call: Run, ids: Tensor) -> None:
        before = self._seen()
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        token, self.logits = call(ids, self.cache)
        self.token = token.clone()  # the graph writes its output to the same place the next time
        if self._layers and self._seen() == before:
            self._replays[ids.numel()] += 1

    def _seen(self) -> int:
        return self._layers[0].calls if self._layers else 0

    def _timed(self, name: str, work: Callable[[], None]) -> float:
        start_s = time.perf_counter()
        try:
            work()
            if self.prompt.device.type == "cuda":
                torch.cuda.synchronize(self.prompt.device)
        except Exception as error:
            if not _of_compiler(error):
                raise
            raise ModelError(
                f"{type(self.model).__name__} does not compile ({name}): {type(error).__name__}: "
                f"{str(error).strip().splitlines()[0]}; drop compile from runtimes for it"
            ) from error
        return time.perf_counter() - start_s


@torch.inference_mode()
def agreement(compiled: CompiledGeneration) -> Agreement:
    """Distance of compiled logits from eager's: the cell's prompt, then eager's own tokens a step at a time.

    Raises ModelError where the two runtimes differ by more than noise and rounding explain.
    """
    eager = Generation(compiled.model, compiled.prompt)
    steps = min(CHECKED_STEPS, compiled.tokens - 1)
    fed, stepped, graph = [compiled.prompt], list[Tensor](), list[Tensor]()
    for index in range(steps + 1):
        if index:
            assert eager.token is not None
            fed.append(eager.token)
            compiled.token = eager.token
        for one, kept in ((eager, stepped), (compiled, graph)):
            one.step() if index else one.prefill()
            assert one.logits is not None
            kept.append(one.logits.float().clone())
    compiled.token = None  # the prefill comes first again
    keep = {"logits_to_keep": steps + 1} if eager.keeps_last else {}
    whole = compiled.model(torch.cat(fed, 1), use_cache=False, **keep).logits[:, -steps - 1 :].float()
    ours, theirs = torch.stack(graph, 1), torch.stack(stepped, 1)
    found = Agreement(
        logits_compared=ours.shape[0] * ours.shape[1],
        max_abs_diff=float((ours - theirs).abs().max()),
        noise=float((whole - theirs).abs().max()),
        max_abs_logit=float(theirs.abs().max()),
        tokens_differ=int((ours.argmax(-1) != theirs.argmax(-1)).sum()),
    )
    _refuse_beyond_noise(found, torch.finfo(compiled.model.dtype).eps)
    return found


def generation_for(bench: Bench, ids: Tensor, tokens: int) -> Generation:
    """For prompts (B, P) and `tokens` tokens after each; compiled, and compared with eager, where that is
    the cell's runtime. ModelError where the model does not compile, or compiles to something else."""
    if bench.cell.runtime == EAGER:
        return Generation(bench.model, ids)
    compiled = CompiledGeneration(bench.model, ids, tokens=tokens)
    compiled.compile()
    compiled.check = agreement(compiled)
    return compiled


def _refuse_beyond_noise(found: Agreement, epsilon: float) -> None:
    limit = max(NOISE_FACTOR * found.noise, EPSILONS * epsilon * found.max_abs_logit)
    if not found.max_abs_diff <= limit:
        raise ModelError(
            f"compiled logits differ from eager's by {found.max_abs_diff:.3g}, where noise and rounding "
            f"explain {limit:.3g} ({found.tokens_differ} of {found.logits_compared} tokens differ): "
            "the compiled model is not the one that was asked for: use runtime eager"
        )


def _of_compiler(error: BaseException | None) -> bool:
    """True where the compiler gave up, rather than the model itself."""
    while error is not None:
        if "fail_on_recompile" in str(error):
            return True
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "torch._functorch")):
            return True
        error = error.__cause__ or error.__context__
    return False

"""The generation that a cell's runtime asks for: the one place that knows both."""

from __future__ import annotations

from torch import Tensor

from qbench.cell import EAGER
from qbench.measure.bench import Bench
from qbench.measure.compiled import CompiledGeneration, agreement
from qbench.measure.generation import Generation


def generation(bench: Bench, ids: Tensor, tokens: int) -> Generation:
    """For prompts (B, P) and `tokens` tokens after each; compiled, and compared with eager, where that is
    the cell's runtime. ModelError where the model does not compile, or compiles to something else."""
    if bench.cell.runtime == EAGER:
        return Generation(bench.model, ids)
    compiled = CompiledGeneration(bench.model, ids, tokens=tokens)
    compiled.compile()
    compiled.check = agreement(compiled)
    return compiled

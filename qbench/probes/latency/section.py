"""The section `latency` of a suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import Field

from qbench.cell import Cell
from qbench.fields import Count
from qbench.section import Finding, Section, repeated


class LatencySpec(Section):
    """Prefill and decode time."""

    key: ClassVar[str] = "latency"

    prompt_lengths: list[Count] = Field([128], min_length=1, max_length=100, description="Tokens in a prompt")
    batch_sizes: list[Count] = Field([1], min_length=1, max_length=100, description="Sequences at once")
    generated_tokens: Count = Field(32, description="Tokens generated after each prompt, exactly")
    repetitions: Count = Field(
        7, description="Timed rounds after the warm-up; every sample is kept. Fewer than six give no interval"
    )
    interleave: Annotated[int, Field(ge=1, le=1000)] = Field(
        16,
        description="Most cells that are held in memory at once to take turns round by round, so that drift "
        "hits all alike; 1: each cell by itself",
    )

    def findings(self) -> Iterator[Finding]:
        yield from repeated(self.prompt_lengths, ("prompt_lengths",))
        yield from repeated(self.batch_sizes, ("batch_sizes",))


@dataclass(frozen=True)
class WorkloadSize:
    """Size of one workload; the defaults are for a cell that asks for no latency."""

    prompt_length: int = 128
    batch_size: int = 1
    generated_tokens: int = 32

    @classmethod
    def first_of(cls, cell: Cell) -> Self:
        """The first workload of the cell's latency settings, on which memory and energy are measured."""
        latency = LatencySpec.of(cell)
        if latency is None:
            return cls()
        return cls(latency.prompt_lengths[0], latency.batch_sizes[0], latency.generated_tokens)

    @property
    def tokens(self) -> int:
        """Positions of one sequence."""
        return self.prompt_length + self.generated_tokens

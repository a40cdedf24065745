"""The sections of a suite: what is measured and how, the calibration text, and which layers are quantized."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from qbench.fields import Corpus, Count, Name, Place, Seed, Spec


class QualitySpec(Spec):
    """Perplexity, and divergence from the unquantized model."""

    corpus: Corpus = Field("builtin:persuasion", description="builtin:NAME, a text file, or a hub dataset")
    protocol: Literal["gptq", "lm-eval", "strided", "llama.cpp"] = Field(
        "gptq", description="How windows are cut and scored; part of every number"
    )
    seqlen: int = Field(512, ge=2, le=1_000_000, description="Tokens in a window")
    stride: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="Protocol strided: tokens from window to window; default: half a window",
    )
    max_windows: Count | None = Field(None, description="Use only so many windows; default: the whole text")
    divergence: bool = Field(
        True, description="KL divergence and top-1 agreement with the unquantized model on the same tokens"
    )


class CalibrationSpec(Spec):
    """The text that calibrated methods see; it must not overlap the evaluation text."""

    corpus: Corpus = Field("builtin:calibration", description="builtin:NAME, a text file, or a hub dataset")
    samples: Count = Field(128, description="Number of windows")
    seqlen: Count = Field(512, description="Tokens in a window")
    seed: Seed = Field(0, description="Which windows are drawn")


class LatencySpec(Spec):
    """Prefill and decode time."""

    prompt_lengths: list[Count] = Field([128], min_length=1, max_length=100, description="Tokens in a prompt")
    batch_sizes: list[Count] = Field([1], min_length=1, max_length=100, description="Sequences at once")
    generated_tokens: Count = Field(32, description="Tokens generated after each prompt, exactly")
    repetitions: Count = Field(
        7,
        description="Timed rounds after the warm-up; every sample is kept. Fewer than six give no interval",
    )
    interleave: Annotated[int, Field(ge=1, le=1000)] = Field(
        16,
        description="Most cells that are held in memory at once to take turns round by round, so that drift "
        "hits all alike; 1: each cell by itself",
    )


class TasksSpec(Spec):
    """Tasks of lm-eval, evaluated on the quantized model in process."""

    names: list[Name] = Field(min_length=1, description="Tasks, groups or tags of the folder or of lm-eval")
    include: Place | None = Field(
        None,
        description="builtin:tasks, or a folder of task files relative to this file; its names come first",
    )
    limit: Count | None = Field(None, description="Use only so many documents of a task; default: all")
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="Solved examples before each question; default: what the task says"
    )
    batch_size: Count = Field(8, description="Requests in one forward; rounding depends on it")


class MemorySpec(Spec):
    """Bytes on disk, resident and at the peak; has no settings yet."""


class EnergySpec(Spec):
    """Joules per token, where the machine has a counter that can be read."""

    min_window_s: float = Field(
        5.0,
        ge=0.1,
        le=3600,
        description="Least length of a measured window, in seconds; shorter ones widen energy_error_pct",
    )
    trials: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="Windows measured of prefill and of decode; from three on there is an interval"
    )


class OverrideSpec(Spec):
    """Other parameters for the layers that match a pattern; every further key is a parameter."""

    model_config = ConfigDict(extra="allow")

    pattern: Name = Field(description="Layer name or pattern, such as *.down_proj; the last match wins")
    method: Name | None = Field(None, description="Another method for these layers; default: the same")


class LayersSpec(Spec):
    """Which layers are quantized, by patterns on their dotted names."""

    include: list[Name] = Field(["*"], min_length=1, description="Layers to quantize")
    exclude: list[Name] = Field([], description="Layers to leave alone; a tied lm_head always is")
    overrides: list[OverrideSpec] = Field([], description="Other parameters for some layers")

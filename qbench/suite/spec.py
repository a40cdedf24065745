"""`Suite`: what a suite file may say, key by key, with every default.

The models below are also the source of the JSON Schema that editors read (`qbench schema`). They act on
nothing: no file is opened, no device asked, no method imported. What types cannot say is in `checks.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag

from qbench.errors import SuiteError
from qbench.suite.positions import MISSING, Document, KeyPath

Dtype = Literal["fp32", "bf16", "fp16"]
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_ONE_LINE)]
Place = Annotated[str, Field(min_length=1, max_length=4096, pattern=_ONE_LINE)]
"""A name or a path."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rule = dict[str, Any]
"""Key → value, pattern (`*`, `?`), or list of either; see `qbench.suite.matrix.matches`."""

_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def parse_bytes(value: object) -> object:
    """`8GiB` or `500 MB` as a number of bytes; anything but text is passed on. Raises ValueError."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)", value)
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"is no size; write a number and a unit ({', '.join(_BYTES)}), such as 8GiB")
    return int(float(match[1]) * _BYTES[match[2]])


def _switch(value: object) -> object:
    if value is None:
        raise ValueError("is empty; write false to switch it off, true for its defaults, or its settings")
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


def _switched(spec: type[BaseModel]) -> BeforeValidator:
    """Reads a section, `true` for its defaults, or `false` for off (None in Python)."""
    return BeforeValidator(_switch, json_schema_input_type=spec | bool)


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HubCorpus(_Spec):
    """A text dataset on the hub."""

    dataset: Name = Field(description="Hub id of the dataset, such as Salesforce/wikitext")
    config: Name | None = Field(None, description="Name of its configuration, such as wikitext-2-raw-v1")
    split: Name = Field("test", description="Which split to read")
    column: Name = Field("text", description="The column that holds the text")
    revision: Name | None = Field(None, description="Branch, tag or commit; a commit pins the text")


def _corpus_kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | HubCorpus) else "text"


Corpus = Annotated[
    Annotated[Place, Tag("text")] | Annotated[HubCorpus, Tag("mapping")], Discriminator(_corpus_kind)
]
"""`builtin:NAME`, a text file relative to the suite's file, or a hub dataset."""


def default_model_name(data: dict[str, Any]) -> str:
    """The last part of a source without `builtin:` and `.gguf`."""
    source = str(data.get("source", ""))
    last = source.removeprefix("builtin:").rstrip("/").rsplit("/", 1)[-1]
    return last.removesuffix(".gguf") or source


class ModelSpec(_Spec):
    """A model and the dtypes to run it in."""

    source: Place = Field(
        description="builtin:NAME, a hub id (org/name), a folder (./folder), or a .gguf file; "
        "paths are relative to this file"
    )
    revision: Name | None = Field(
        None, description="Branch, tag or commit of a hub model; a commit pins the weights"
    )
    dtypes: list[Dtype] = Field(
        ["bf16"],
        min_length=1,
        description="Dtypes of unquantized weights and activations",
    )
    name: Name = Field(
        default_factory=default_model_name, description="Name in tables; default: end of the source"
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the architecture with seeded random weights, for timing only"
    )
    trust_remote_code: bool = Field(False, description="Let the hub model's own Python code run here")
    allow_pickle: bool = Field(False, description="Read pickled weights (.bin, .pt), which can run any code")

    @property
    def kind(self) -> Literal["builtin", "gguf", "folder", "hub"]:
        """What `source` names, by its spelling alone: a folder begins with `.`, `/` or `~`."""
        if self.source.startswith("builtin:"):
            return "builtin"
        if self.source.endswith(".gguf"):
            return "gguf"
        return "folder" if self.source[0] in "./~" else "hub"


class MethodSpec(_Spec):
    """A method with its parameters; every further key is a parameter, and a list is a grid of values."""

    model_config = ConfigDict(extra="allow")

    name: Name = Field(
        description="Name of the method (see `qbench list methods`), or * for all that are not named and fit "
        "the model: on a folder that `qbench quantize` wrote, saved alone"
    )
    label: Name | None = Field(None, description="Name in tables; grid values that vary are added to it")

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as written, in file order; a list is a grid."""
        return dict(self.model_extra or {})


class QualitySpec(_Spec):
    """Perplexity."""

    corpus: Corpus = Field("builtin:persuasion", description="builtin:NAME, a text file, or a hub dataset")
    protocol: Literal["gptq"] = Field(
        "gptq", description="How windows are cut and scored; part of every number"
    )
    seqlen: int = Field(512, ge=2, le=1_000_000, description="Tokens in a window")
    max_windows: Count | None = Field(None, description="Use only so many windows; default: the whole text")


class CalibrationSpec(_Spec):
    """The text that calibrated methods see; it must not overlap the evaluation text."""

    corpus: Corpus = Field("builtin:calibration", description="builtin:NAME, a text file, or a hub dataset")
    samples: Count = Field(128, description="Number of windows")
    seqlen: Count = Field(512, description="Tokens in a window")
    seed: Seed = Field(0, description="Which windows are drawn")


class LatencySpec(_Spec):
    """Prefill and decode time."""

    prompt_lengths: list[Count] = Field([128], min_length=1, max_length=100, description="Tokens in a prompt")
    batch_sizes: list[Count] = Field([1], min_length=1, max_length=100, description="Sequences at once")
    generated_tokens: Count = Field(32, description="Tokens generated after each prompt, exactly")
    repetitions: Count = Field(5, description="Timed rounds after the warm-up; every sample is kept")


class MemorySpec(_Spec):
    """Bytes on disk, resident and at the peak; has no settings yet."""


class EnergySpec(_Spec):
    """Joules per token, where the machine has a counter that can be read."""

    min_window_s: float = Field(
        5.0, ge=0.1, le=3600, description="Least length of a measured window, in seconds"
    )
    trials: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Windows measured")


class OverrideSpec(_Spec):
    """Other parameters for the layers that match a pattern; every further key is a parameter."""

    model_config = ConfigDict(extra="allow")

    pattern: Name = Field(description="Layer name or pattern, such as *.down_proj; the last match wins")
    method: Name | None = Field(None, description="Another method for these layers; default: the same")


class LayersSpec(_Spec):
    """Which layers are quantized, by patterns on their dotted names."""

    include: list[Name] = Field(["*"], min_length=1, description="Layers to quantize")
    exclude: list[Name] = Field([], description="Layers to leave alone; a tied lm_head always is")
    overrides: list[OverrideSpec] = Field([], description="Other parameters for some layers")


class Suite(_Spec):
    """A benchmark suite: models × methods × dtypes × devices, and what is measured on each."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the suite and of its folder of results",
    )
    models: list[ModelSpec] = Field(min_length=1, description="Models to measure")
    methods: list[MethodSpec] = Field(min_length=1, description="Methods with their parameters")
    devices: list[Name] = Field(
        ["cpu"], min_length=1, description="cpu, cuda, cuda:N, or a GPU name such as H100"
    )
    quality: Annotated[QualitySpec | None, _switched(QualitySpec)] = Field(
        QualitySpec(), description="Perplexity; false: off"
    )
    calibration: Annotated[CalibrationSpec | None, _switched(CalibrationSpec)] = Field(
        CalibrationSpec(), description="Calibration text; false: none"
    )
    latency: Annotated[LatencySpec | None, _switched(LatencySpec)] = Field(
        LatencySpec(), description="Prefill and decode time; false: off"
    )
    memory: Annotated[MemorySpec | None, _switched(MemorySpec)] = Field(
        MemorySpec(), description="Bytes; false: off"
    )
    energy: Annotated[EnergySpec | None, _switched(EnergySpec)] = Field(
        EnergySpec(), description="Joules per token; false: off"
    )
    layers: LayersSpec = Field(LayersSpec(), description="Which layers are quantized")
    repetitions: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="Times that each cell is run")
    seed: Seed = Field(0, description="Seeds prompts, random weights and every random choice of a method")
    timeout_s: float = Field(3600.0, gt=0, le=2_592_000, description="Seconds after which a cell is stopped")
    memory_limit: Annotated[
        int | None, Field(ge=2**20), BeforeValidator(parse_bytes, json_schema_input_type=int | str | None)
    ] = Field(None, description="Most memory that a cell may take: 8GiB, 500MB, or bytes")
    threads: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="CPU threads; default: one a core"
    )
    allow_fallback: bool = Field(
        False, description="Let a layer run on another kernel than the one asked for"
    )
    include: list[Rule] = Field(
        [], max_length=100, description="Keep only the corners that match one of these"
    )
    exclude: list[Rule] = Field([], max_length=100, description="Drop the corners that match one of these")

    _document: Document = PrivateAttr(default_factory=Document)

    @property
    def file(self) -> str:
        """The file as it was named when read."""
        return self._document.file

    @property
    def text(self) -> str:
        """The file's text as read; empty for a suite that was made in Python."""
        return self._document.text

    def error(self, path: KeyPath, message: str, value: object = MISSING) -> SuiteError:
        """A SuiteError that points at file and line of `path`, such as `("methods", 0, "num_bits")`.

        A key that the file leaves out is shown at the nearest one around it; `value` defaults to the file's.
        """
        return SuiteError(self._document.describe(path, message, value))

    def path(self, written: str) -> Path:
        """A path of the suite, which is relative to the suite's file."""
        try:
            return Path(self.file).parent / Path(written).expanduser()
        except RuntimeError as error:
            raise SuiteError(f"{self.file}: {written!r}: {error}") from error


SWITCHABLE = ("quality", "calibration", "latency", "memory", "energy")
"""The sections that `false` switches off."""
SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Suite,
    ("models",): ModelSpec,
    ("methods",): MethodSpec,
    ("quality",): QualitySpec,
    ("quality", "corpus"): HubCorpus,
    ("calibration",): CalibrationSpec,
    ("calibration", "corpus"): HubCorpus,
    ("latency",): LatencySpec,
    ("memory",): MemorySpec,
    ("energy",): EnergySpec,
    ("layers",): LayersSpec,
    ("layers", "overrides"): OverrideSpec,
}
"""Key path without list positions → the model that reads it: where an error finds the known keys."""

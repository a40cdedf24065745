"""`Suite`: every key that a suite file may have, with its default.

The models below are also the source of the JSON Schema that editors read (`qbench schema`). They act on
nothing: no file is opened, no device asked, no method imported. What types cannot say is in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, create_model

from qbench.errors import QbenchError, SuiteError
from qbench.fields import Dtype, Name, Place, Rule, Runtime, Seed, Spec, parse_bytes, switched
from qbench.probes.registry import probes
from qbench.section import Section
from qbench.suite.gate import GateSpec
from qbench.suite.positions import MISSING, Document, KeyPath
from qbench.suite.sections import CalibrationSpec, LayersSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
S = TypeVar("S", bound=BaseModel)
Settings = TypeVar("Settings", bound=Section)


def default_model_name(data: Mapping[str, Any]) -> str:
    """The last part of a source without `builtin:` and `.gguf`."""
    source = str(data.get("source", ""))
    last = source.removeprefix("builtin:").rstrip("/").rsplit("/", 1)[-1]
    return last.removesuffix(".gguf") or source


class ModelSpec(Spec):
    """A model and the dtypes to run it in."""

    source: Place = Field(
        description="builtin:NAME, a hub id (org/name), a folder (./folder), or a .gguf file; "
        "paths are relative to this file"
    )
    revision: Name | None = Field(
        None, description="Branch, tag or commit of a hub model; a commit pins the weights"
    )
    dtypes: list[Dtype] = Field(
        ["bf16"], min_length=1, description="Dtypes of unquantized weights and activations"
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
        """Kind of the source, by its spelling alone: a folder begins with `.`, `/` or `~`."""
        if self.source.startswith("builtin:"):
            return "builtin"
        if self.source.endswith(".gguf"):
            return "gguf"
        return "folder" if self.source[0] in "./~" else "hub"


class MethodSpec(Spec):
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


def with_probes(suite: type[S]) -> type[S]:
    """The model with a section for each probe; QbenchError where a key is the suite's own."""
    fields: dict[str, Any] = {}
    for probe in probes().values():
        key, settings = probe.section, probe.settings
        if key in dir(suite) or key in suite.model_fields or not key.isidentifier():
            raise QbenchError(
                f"probe {probe.name!r}: {key!r} cannot be a section; {probe.entry} must rename it"
            )
        info = Field(probe.default, description=probe.title or probe.description)
        fields[key] = (Annotated[settings | None, switched(settings)], info)
    made: type[S] = create_model(
        suite.__name__, __base__=suite, __doc__=suite.__doc__, __module__=__name__, **fields
    )
    return made


@with_probes
class Suite(Spec):
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
    runtimes: list[Runtime] = Field(
        ["eager"],
        min_length=1,
        description="What runs the timed work: eager, or compile (torch.compile with a static cache)",
    )
    calibration: Annotated[CalibrationSpec | None, switched(CalibrationSpec)] = Field(
        CalibrationSpec(), description="Calibration text; false: none"
    )
    layers: LayersSpec = Field(LayersSpec(), description="Which layers are quantized")
    gate: GateSpec = Field(GateSpec(), description="When a new version counts as worse (`qbench gate`)")
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
    include: list[Rule] = Field([], max_length=100, description="Keep only the cells that match one of these")
    exclude: list[Rule] = Field([], max_length=100, description="Drop the cells that match one of these")

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

    def section(self, kind: type[Settings]) -> Settings | None:
        """The section of this type, as `suite.section(LatencySpec)`; None where it is off."""
        found: Settings | None = getattr(self, kind.key)
        return found

    def path(self, written: str) -> Path:
        """A path of the suite, which is relative to the suite's file."""
        try:
            return Path(self.file).parent / Path(written).expanduser()
        except RuntimeError as error:
            raise SuiteError(f"{self.file}: {written!r}: {error}") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a suite file, draft 2020-12, for editors that complete and check YAML."""
    return {"$schema": DIALECT, **Suite.model_json_schema(mode="validation"), "title": "qbench suite"}


def models_below(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """The model at a key path without list positions, then those of its fields."""
    yield path, model
    for name, info in model.model_fields.items():
        for below in _models_in(info.annotation):
            yield from models_below(below, (*path, name))


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


SECTIONS = dict(models_below(Suite))
"""Key path without list positions → the model that reads it: where an error finds the known keys."""
SWITCHABLE = frozenset(
    path[0]
    for path, model in SECTIONS.items()
    if issubclass(model, Section) and not any(info.is_required() for info in model.model_fields.values())
)
"""The sections that `true` and `false` switch on and off."""

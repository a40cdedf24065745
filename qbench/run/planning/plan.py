"""From a suite to cells: everything resolved, pinned, hashed and checked before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from qbench.cell import Cell, ModelRef, Sections
from qbench.errors import MethodError, ModelError
from qbench.fields import Rule
from qbench.models.corpora import overlap, whole_text
from qbench.models.saved import Saved, saved_at
from qbench.models.source import pin
from qbench.probes.quality.section import QualitySettings, QualitySpec
from qbench.probes.registry import probes
from qbench.quant.method import registry
from qbench.quant.method.base import Method
from qbench.quant.selection.overrides import overrides
from qbench.run.planning import runtimes
from qbench.run.planning.devices import Devices
from qbench.section import Section
from qbench.suite.checks import EVERY_METHOD
from qbench.suite.matrix import Variant, expand, select
from qbench.suite.positions import KeyPath
from qbench.suite.sections import CalibrationSpec
from qbench.suite.spec import ModelSpec, Suite

State = Literal["run", "done", "skip"]


@dataclass(frozen=True)
class Planned:
    """A cell and what is to become of it."""

    cell: Cell
    state: State
    reason: str | None = None
    """Why it is skipped."""


@dataclass
class Planner:
    """Resolves the variants of one suite; each model and corpus is read and hashed once."""

    suite: Suite
    devices: Devices = field(default_factory=Devices.here)
    _models: dict[str, ModelRef | ModelError] = field(default_factory=dict)
    _saved: dict[str, Saved] = field(default_factory=dict)
    """Models that are quantized checkpoints, by their weights."""
    _values: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    """Resolved sections as cells keep them; None for one that is off."""

    def plan(self, rules: Sequence[Rule] = (), done: frozenset[str] = frozenset()) -> list[Planned]:
        """Every cell of the suite that the rules leave, in the suite's order.

        `done` holds the ids that already have an `ok` record. Raises SuiteError for what only the user can
        mend: a wrong parameter, a corpus that is not there, a calibration text that overlaps the evaluation.
        A model or device that is missing makes its cells `skip`.
        """
        variants = expand(self.suite, list(registry.available()))
        whole = [replace(variant, params=self._method(variant).params()) for variant in variants]
        selected = select(whole, rules)  # a filter sees defaults too, not only what the suite says
        variants = [variant for variant in selected if self._asked_for(variant)] or selected
        methods = [self._method(variant) for variant in variants]
        self._check_calibration(variants, methods)
        said = "calibration" in self.suite.model_fields_set
        if said or any(self._needs_calibration(method) for method in methods):
            self._check_overlap()
        pairs = zip(variants, methods, strict=True)
        planned = [(variant, self._planned(variant, method, done)) for variant, method in pairs]
        self._check_twins(planned)
        return [plan for _, plan in planned]

    @property
    def made_from(self) -> dict[str, str]:
        """Weights of the quantized checkpoints that were planned → those that they were made from."""
        found = {weights: saved.origin.get("weights") for weights, saved in self._saved.items()}
        return {weights: origin for weights, origin in found.items() if isinstance(origin, str)}

    def _planned(self, variant: Variant, method: Method, done: frozenset[str]) -> Planned:
        model = self._model(variant.model)
        device, missing = self.devices.find(variant.device)
        cell = self._cell(variant, method, model, device)
        if isinstance(model, ModelError):
            return Planned(cell, "skip", str(model))
        reason = missing or self._misfit(method, cell) or method.unsupported(cell)
        if reason := reason or runtimes.why_not(cell.runtime, device):
            return Planned(cell, "skip", reason)
        return Planned(cell, "done" if cell.id in done else "run")

    def _asked_for(self, variant: Variant) -> bool:
        """False where `*` stands for a method that the model, quantized already or not, never runs."""
        if self.suite.methods[variant.entry].name != EVERY_METHOD:
            return True
        model = self._model(variant.model)
        quantized = isinstance(model, ModelRef) and model.weights in self._saved
        return self._method(variant).reads_checkpoint == quantized

    def _misfit(self, method: Method, cell: Cell) -> str | None:
        """Why a method and a model, one of them of a quantized checkpoint, do not go together, or None."""
        saved = self._saved.get(cell.model.weights)
        if saved is None:
            return (
                f"method {cell.method} runs a checkpoint that `qbench quantize` wrote, and {cell.model.name} "
                "is none; name such a folder under models, or another method"
                if method.reads_checkpoint
                else None
            )
        quality = QualitySettings.of(cell)
        if quality and saved.calibrated_on(quality.corpus_sha256):
            return (
                "the checkpoint was calibrated on the text that quality is measured on; choose another corpus"
            )
        return saved.why_not(cell.method, cell.dtype)

    def _label(self, variant: Variant, method: Method, model: ModelRef) -> str:
        """The suite's own, or for a quantized checkpoint what it holds."""
        saved = self._saved.get(model.weights)
        if saved is None or not method.reads_checkpoint or self.suite.methods[variant.entry].label:
            return variant.label
        return f"{saved.label} ({variant.method})"

    def _method(self, variant: Variant) -> Method:
        try:
            return registry.make(variant.method, variant.params)
        except MethodError as error:
            entry: KeyPath = ("methods", variant.entry)
            raise self.suite.error(
                (*entry, error.parameter) if error.parameter else entry, str(error)
            ) from error

    def _needs_calibration(self, method: Method) -> bool:
        """True where the method, or one that an override names, reads the calibration text.

        An override that does not suit the method says so in the cell, as every fault of a layer does.
        """
        if not method.quantizes:
            return False
        try:
            rules = overrides(method, self.suite.layers.model_dump()["overrides"])
        except MethodError:
            rules = []
        return method.needs_calibration or any(rule.method.needs_calibration for rule in rules)

    def _model(self, spec: ModelSpec) -> ModelRef | ModelError:
        key = spec.model_dump_json()
        if key not in self._models:
            self._models[key] = self._pinned(spec)
        return self._models[key]

    def _pinned(self, spec: ModelSpec) -> ModelRef | ModelError:
        source = str(self.suite.path(spec.source)) if spec.kind in ("gguf", "folder") else spec.source
        try:
            ref = pin(
                source,
                spec.name,
                spec.revision,
                random_seed=self.suite.seed if spec.weights == "random" else None,
                trust_remote_code=spec.trust_remote_code,
                allow_pickle=spec.allow_pickle,
            )
            saved = saved_at(ref)
        except ModelError as error:
            return error
        if saved is not None:
            self._saved[ref.weights] = saved
        return ref

    def _cell(self, variant: Variant, method: Method, model: ModelRef | ModelError, device: str) -> Cell:
        suite = self.suite
        if isinstance(model, ModelError):
            model = ModelRef(variant.model.name, variant.model.source, "missing", variant.model.revision)
        return Cell(
            model=model,
            method=variant.method,
            params=method.params(),
            dtype=variant.dtype,
            device=device,
            label=self._label(variant, method, model),
            layers=suite.layers.model_dump() if method.quantizes else {},
            sections=self._sections(method),
            seed=suite.seed,
            repetition=variant.repetition,
            threads=suite.threads,
            runtime=variant.runtime,
            allow_fallback=suite.allow_fallback,
            timeout_s=suite.timeout_s,
            memory_limit=suite.memory_limit,
        )

    def _sections(self, method: Method) -> Sections:
        """Every section that is on, as cells keep it; resolved once for all of them."""
        kinds: list[type[Section]] = [probe.settings for probe in probes().values()]
        if self._needs_calibration(method):
            kinds.append(CalibrationSpec)
        return {kind.key: found for kind in kinds if (found := self._resolved(kind)) is not None}

    def _resolved(self, kind: type[Section]) -> Mapping[str, Any] | None:
        if kind.key not in self._values:
            section = self.suite.section(kind)
            self._values[kind.key] = section.resolved(self.suite).values() if section else None
        return self._values[kind.key]

    def _check_twins(self, planned: list[tuple[Variant, Planned]]) -> None:
        """Two entries that come to the same cell once defaults are filled in would share one record."""
        seen: dict[str, Variant] = {}
        for variant, plan in planned:
            twin = seen.setdefault(plan.cell.id, variant)
            if twin is not variant:
                raise self.suite.error(
                    ("methods", variant.entry),
                    f"{variant.label!r} is {twin.label!r} once the defaults are filled in; keep one",
                )

    def _check_calibration(self, variants: Sequence[Variant], methods: Sequence[Method]) -> None:
        if self.suite.calibration is not None:
            return
        for variant, method in zip(variants, methods, strict=True):
            if self._needs_calibration(method):
                raise self.suite.error(
                    ("calibration",), f"is switched off, and {variant.label!r} reads it; leave the key out"
                )

    def _check_overlap(self) -> None:
        quality, calibration = self.suite.section(QualitySpec), self.suite.calibration
        if not (quality and calibration):
            return
        evaluation, studied = (
            whole_text(self.suite, section.key, section.corpus) for section in (quality, calibration)
        )
        if shared := overlap(evaluation, studied):
            raise self.suite.error(
                ("calibration", "corpus"),
                "the calibration text overlaps the evaluation text, so that quality would be overstated; "
                f"choose another. Both hold: “{shared[:120]}…”",
            )

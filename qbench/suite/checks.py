"""Checks of a suite beyond types: duplicates, keys in the wrong place, texts that overlap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qbench.probes.quality.section import QualitySpec
from qbench.probes.registry import probes
from qbench.section import Finding, repeated
from qbench.suite.positions import KeyPath
from qbench.suite.rules import RULE_KEYS
from qbench.suite.spec import MethodSpec, ModelSpec, Suite

EVERY_METHOD = "*"
_ELSEWHERE = {
    "model": "models are chosen under models, and cells under include and exclude",
    "method": "the method's name goes under name",
    "dtype": "dtypes stand with the model, as models: [{source: …, dtypes: [bf16]}]",
    "dtypes": "dtypes stand with the model, as models: [{source: …, dtypes: [bf16]}]",
    "device": "devices stand at the top of the suite, as devices: [cpu]",
    "devices": "devices stand at the top of the suite, as devices: [cpu]",
    "runtime": "runtimes stand at the top of the suite, as runtimes: [eager, compile]",
    "runtimes": "runtimes stand at the top of the suite, as runtimes: [eager, compile]",
}


def findings(suite: Suite) -> Iterator[Finding]:
    """Everything amiss in a suite whose keys and types are right."""
    for index, model in enumerate(suite.models):
        yield from _model(model, ("models", index))
    names = [model.name for model in suite.models]
    yield from repeated(names, ("models",), "name", "give each model a name of its own")
    for index, method in enumerate(suite.methods):
        yield from _method(method, ("methods", index))
    yield from _devices(suite.devices)
    yield from _runtimes(suite)
    for probe in probes().values():
        section = suite.section(probe.settings)
        for path, message in section.findings() if section else ():
            yield (probe.section, *path), message
    for index, override in enumerate(suite.layers.overrides):
        if not override.model_extra and override.method is None:
            yield ("layers", "overrides", index), "changes nothing; give a parameter or a method"
    quality = suite.section(QualitySpec)
    if quality and suite.calibration and quality.corpus == suite.calibration.corpus:
        yield ("calibration", "corpus"), "is the text that quality is measured on; calibrate on another one"


def _model(model: ModelSpec, path: KeyPath) -> Iterator[Finding]:
    yield from repeated(model.dtypes, (*path, "dtypes"))
    if model.kind == "hub" and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.source):
        yield (
            (*path, "source"),
            "is no hub id (org/name); write a folder as ./folder, or end a GGUF file in .gguf",
        )
    if model.kind != "hub" and model.revision is not None:
        yield (*path, "revision"), f"only a hub model has revisions, and {model.source!r} is none; drop it"


def _method(method: MethodSpec, path: KeyPath) -> Iterator[Finding]:
    for key, value in method.params.items():
        if key in _ELSEWHERE or key in RULE_KEYS:
            yield (*path, key), f"is no parameter of a method; {_ELSEWHERE.get(key, 'rename it')}"
        if value == []:
            yield (*path, key), "is an empty grid; give at least one value, or drop the key for its default"
        elif isinstance(value, list):
            yield from repeated(value, (*path, key))
    if method.name == EVERY_METHOD and (method.params or method.label):
        yield path, "name * stands for methods with their defaults; it takes no parameters and no label"


def _devices(devices: Sequence[str]) -> Iterator[Finding]:
    yield from repeated(devices, ("devices",))
    for index, device in enumerate(devices):
        taken_for_one = re.fullmatch(r"(?i)gpu.*|(cuda|cpu).+", device)
        if taken_for_one and not re.fullmatch(r"cuda:[0-9]{1,3}", device):
            yield ("devices", index), "is no device; write cpu, cuda, cuda:N, or a GPU name such as H100"


def _runtimes(suite: Suite) -> Iterator[Finding]:
    yield from repeated(suite.runtimes, ("runtimes",))
    timed = [probe for probe in probes().values() if probe.clock != "none"]
    if "compile" in suite.runtimes and not any(suite.section(probe.settings) for probe in timed):
        off = " and ".join(probe.section for probe in timed if probe.default)
        yield (
            ("runtimes", suite.runtimes.index("compile")),
            f"is for timed work, and {off} are switched off; drop it",
        )

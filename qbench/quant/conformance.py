"""Checks of the promises of a method, on a small model: the suite behind `qbench check METHOD`.

Each check is a function of one `Subject` that returns what it saw and raises `Fault` where the method breaks
a promise. An exception of any other kind in a check is a fault too, and stands in its outcome.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qbench.errors import MethodError
from qbench.quant.method import registry
from qbench.quant.method.base import Layer, Method
from qbench.quant.method.inputs import Inputs
from qbench.quant.model.checkpoint import WEIGHTS, load_quantized, save_quantized
from qbench.quant.model.convert import Conversion, quantize_model, quantized_layers
from qbench.quant.model.sizes import claimed_bytes, model_bytes, resident_bytes, rest_bytes
from qbench.quant.selection.targets import select

SEED = 20240229
PROMPT_TOKENS = 48
LONGEST_FILE_LINES = 79
NO_SUCH_PARAMETER = "no_such_parameter"


@dataclass(frozen=True)
class Outcome:
    name: str
    passed: bool
    detail: str


class Fault(Exception):
    """A promise that the method breaks."""


@dataclass(frozen=True)
class Subject:
    """A method, and the model before and after it."""

    name: str
    method: Method
    load: Callable[[], nn.Module]
    before: dict[str, Tensor]
    """State of the unquantized model, copied."""
    kinds: dict[str, type[nn.Module]]
    """The class of every module of the unquantized model."""
    calibration: Tensor | None
    """Windows of ids, for a method that reads its layers' inputs."""
    model: nn.Module
    """Quantized, unless the method is the baseline."""
    done: Conversion


def check(
    name: str, model_loader: Callable[[], nn.Module], calibration: Tensor | None = None
) -> list[Outcome]:
    """Checks one method, with its default parameters, on the model that the loader gives anew each time.

    `calibration` is int64 (samples, seqlen), for methods that read their layers' inputs. Raises MethodError
    for an unknown name; everything that the method itself does wrong is an outcome.
    """
    cls = registry.method_class(name)
    found = [_outcome(label, partial(run, name)) for label, run in PARAMETER_CHECKS.items()]
    if registry.available()[name] == "built-in":
        found.append(_outcome("short file", partial(_short_file, name)))
    checks = MODEL_CHECKS if cls.quantizes else BASELINE_CHECKS
    try:
        subject = _subject(name, model_loader, calibration)
    except Exception as error:
        return [*found, Outcome("quantizes the model", False, _said(error))]
    found.append(Outcome("quantizes the model", True, f"{len(subject.done.quantized)} layers"))
    return [*found, *(_outcome(label, partial(run, subject)) for label, run in checks.items())]


def _subject(name: str, load: Callable[[], nn.Module], calibration: Tensor | None) -> Subject:
    method = registry.make(name, {})
    model = load().eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    kinds = {key: type(module) for key, module in model.named_modules()}
    torch.manual_seed(SEED)
    done = quantize_model(model, method, calibration=calibration)
    return Subject(name, method, load, before, kinds, calibration, model, done)


def _outcome(label: str, run: Callable[[], str]) -> Outcome:
    try:
        return Outcome(label, True, run())
    except Exception as error:
        return Outcome(label, False, _said(error))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}"


def _survives_json(name: str) -> str:
    method = registry.make(name, {})
    text = json.dumps(method.params(), allow_nan=False)
    if registry.make(name, json.loads(text)) != method:
        raise Fault(f"parameters read back from JSON make another method: {text}")
    return text


def _refuses_unknown(name: str) -> str:
    try:
        registry.make(name, {NO_SUCH_PARAMETER: 1})
    except MethodError as error:
        return str(error)
    raise Fault(f"{NO_SUCH_PARAMETER!r} was taken")


def _short_file(name: str) -> str:
    import qbench.methods

    path = Path(qbench.methods.__path__[0]) / f"{name}.py"
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > LONGEST_FILE_LINES:
        raise Fault(f"{path.name} has {lines} lines, a method has {LONGEST_FILE_LINES} at most")
    return f"{lines} lines"


def _keeps_its_input(subject: Subject) -> str:
    model = subject.load()
    layer = select(model, subject.method, {}).targets[0].layer
    weight = torch.randn(layer.out_features, layer.in_features, generator=_generator())
    given = weight.clone()
    inputs = _random_inputs(subject.method, layer) if subject.method.statistics else None
    subject.method.quantize_layer(given, replace(layer, inputs=inputs))
    if not torch.equal(given, weight):
        raise Fault("quantize_layer changed the weight that it was given")
    return layer.name


def _random_inputs(method: Method, layer: Layer) -> Inputs:
    """Statistics of twice as many random inputs as there are features, of which some are larger."""
    features = layer.in_features
    inputs = Inputs(features, method.statistics, "cpu")
    x = torch.randn(2 * features, features, generator=_generator())
    inputs.add(x * torch.linspace(0.1, 3, features))
    return inputs


def _same_codes(subject: Subject) -> str:
    again = subject.load().eval()
    torch.manual_seed(SEED)
    quantize_model(again, subject.method, calibration=subject.calibration)
    first, second = subject.model.state_dict(), again.state_dict()
    differing = [key for key in first if not torch.equal(first[key], second[key])]
    if differing:
        raise Fault(f"{len(differing)} tensors differ between two runs with one seed, {differing[0]} first")
    return f"{len(first)} tensors"


def _really_packed(subject: Subject) -> str:
    layers = dict(quantized_layers(subject.model))
    if not layers or set(layers) != set(subject.done.quantized):
        raise Fault(f"{len(subject.done.quantized)} layers were targeted, {len(layers)} are packed")
    errors = {name: layer.facts.weight_error for name, layer in layers.items()}
    for name, layer in layers.items():
        error = errors[name]
        if f"{name}.weight" in subject.model.state_dict() or list(layer.parameters()):
            raise Fault(f"{name} still holds a float weight")
        if error is None or not 0 <= error < 1:
            raise Fault(f"{name}: relative weight error {error}, no better than a weight of zeros")
    found = [error for error in errors.values() if error is not None]
    return f"relative weight error {min(found):.2g} … {max(found):.2g}"


def _finite(subject: Subject) -> str:
    logits = _logits(subject.model)
    if not bool(logits.isfinite().all()):
        raise Fault(f"{int((~logits.isfinite()).sum())} of {logits.numel()} logits are inf or nan")
    if bool((logits == logits[:, :1]).all()):
        raise Fault("the logits do not depend on the input")
    return f"{logits.numel()} logits"


def _memory_as_claimed(subject: Subject) -> str:
    detail = _compare(
        model_bytes(subject.model), claimed_bytes(subject.model), resident_bytes(subject.before.values())
    )
    _logits(subject.model)
    layers = dict(quantized_layers(subject.model))
    held = sum(sum(layer.resident_bytes().values()) for layer in layers.values())
    after = _compare(
        model_bytes(subject.model), held + rest_bytes(subject.model), resident_bytes(subject.before.values())
    )
    return f"{detail}; after a run {after}"


def _disk_as_claimed(subject: Subject) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        save_quantized(subject.model, Path(scratch) / "saved", origin={})
        file = Path(scratch) / "saved" / WEIGHTS
        with file.open("rb") as opened:
            # The format: a length, a JSON header, the data.
            header = 8 + int.from_bytes(opened.read(8), "little")
        measured = file.stat().st_size - header
    return _compare(measured, claimed_bytes(subject.model), resident_bytes(subject.before.values()))


def _same_after_reload(subject: Subject) -> str:
    expected = _logits(subject.model)
    with tempfile.TemporaryDirectory() as scratch:
        save_quantized(subject.model, Path(scratch) / "saved", origin={})
        loaded = load_quantized(Path(scratch) / "saved")
        found = _logits(loaded)
    if not torch.equal(found.view(torch.int32), expected.view(torch.int32)):  # as bits, where nan equals nan
        off = (found - expected).abs().max().item()
        raise Fault(f"logits differ by up to {off:.3g} after saving and loading")
    return f"{expected.numel()} logits are the same bits"


def _rest_unchanged(subject: Subject) -> str:
    quantized = tuple(f"{name}." for name in subject.done.quantized)
    now = subject.model.state_dict()
    kept = (
        [key for key in subject.before if not key.startswith(quantized)] if quantized else [*subject.before]
    )
    for key in kept:
        if (
            key not in now
            or now[key].dtype != subject.before[key].dtype
            or not torch.equal(now[key], subject.before[key])
        ):
            raise Fault(f"{key} was no target and changed")
    for name, module in subject.model.named_modules():
        if name not in subject.done.quantized and type(module) is not subject.kinds.get(name):
            raise Fault(f"module {name} was no target and became a {type(module).__name__}")
    return f"{len(kept)} tensors"


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


@torch.no_grad()
def _logits(model: Any) -> Tensor:
    """Logits of a fixed prompt spread over the vocabulary, (tokens, vocabulary), float32."""
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = torch.arange(PROMPT_TOKENS)[None] * 83 % vocabulary
    logits: Tensor = model(input_ids=ids.to(model.device)).logits[0].float()
    return logits


def _compare(measured: int, claimed: float, float_bytes: int) -> str:
    if abs(measured - claimed) > 1e-3 * claimed:
        raise Fault(f"{measured:,} bytes where bits_per_weight claims {claimed:,.0f}")
    if measured >= float_bytes:
        raise Fault(f"{measured:,} bytes, no less than the {float_bytes:,} of the unquantized model")
    return f"{measured:,} bytes as claimed, {float_bytes:,} before"


PARAMETER_CHECKS: dict[str, Callable[[str], str]] = {
    "parameters survive JSON": _survives_json,
    "unknown parameter refused": _refuses_unknown,
}
MODEL_CHECKS: dict[str, Callable[[Subject], str]] = {
    "weight given is not changed": _keeps_its_input,
    "same seed, same codes": _same_codes,
    "targets really packed": _really_packed,
    "memory as claimed": _memory_as_claimed,
    "output finite": _finite,
    "disk as claimed": _disk_as_claimed,
    "save, load, same logits": _same_after_reload,
    "nothing else changed": _rest_unchanged,
}
BASELINE_CHECKS: dict[str, Callable[[Subject], str]] = {
    "output finite": _finite,
    "nothing else changed": _rest_unchanged,
}

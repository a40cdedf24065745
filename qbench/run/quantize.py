"""`qbench quantize`, the parent's end: an order is checked, and a worker carries it out.

Errors of an order are found before a model is loaded. No torch here.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import qbench
from qbench.cell import Cell, ModelRef
from qbench.errors import DeviceError, KernelError, MethodError, ModelError, QbenchError
from qbench.fields import value_text
from qbench.json_object import JsonObject
from qbench.models.builtin import MODELS
from qbench.models.saved import saved_at
from qbench.models.source import pin
from qbench.quant.method import registry
from qbench.quant.selection.overrides import overrides
from qbench.run.executors import registry as executors
from qbench.run.executors.driver import run_alone
from qbench.run.executors.executor import Event, Executor, Job
from qbench.run.executors.running_cell import RunningCell, outcome
from qbench.run.executors.running_job import RunningJob
from qbench.run.planning.devices import Devices
from qbench.run.provenance.environment import utc_now
from qbench.run.worker.events import Phase
from qbench.run.worker.model_card import SUITE
from qbench.run.worker.requests import SaveQuantized
from qbench.suite.sections import CalibrationSettings, CalibrationSpec, LayersSpec

_TYPES = {error.__name__: error for error in (MethodError, ModelError, KernelError, DeviceError)}
_GGUF_NOTE = (
    "read from a GGUF file and expanded to floats first; what that file lost, this checkpoint lost too"
)


@dataclass(frozen=True)
class Order:
    """A model, and the way to quantize it."""

    source: str
    """Source as in a suite: `builtin:NAME`, a folder, a `.gguf` file or a hub id."""
    method: str
    params: JsonObject = field(default_factory=dict)
    dtype: str = "bf16"
    device: str = "cpu"
    """Device as in a suite: `cpu`, `cuda`, `cuda:N` or a GPU's name."""
    layers: LayersSpec = field(default_factory=LayersSpec)
    calibration: CalibrationSpec | None = None
    """None: the default text, where the method needs one."""
    seed: int = 0
    revision: str | None = None
    allow_pickle: bool = False
    memory_limit: int | None = None
    """Bytes; enforced on the worker."""


def quantize(
    order: Order,
    folder: Path,
    said: Callable[[str], None] = lambda phase: None,
    executor: Executor | str = "local",
) -> JsonObject:
    """Writes a checkpoint under `folder` and returns its sizes and settings, as plain values.

    `said` is called with each phase as it begins. Raises MethodError, ModelError, KernelError or
    DeviceError for what is wrong with the order or does not go, and QbenchError where the worker died;
    then nothing stands under `folder`.
    """
    _check_folder(folder)
    cell = _cell(order)
    origin, place = _origin(order, cell), str(folder.absolute())
    work = SaveQuantized(cell.to_dict(), place, origin)
    running = RunningCell(Job(work, math.inf, cell.device, cell.memory_limit), cell=cell)

    def heard(running: RunningJob, event: Event) -> None:
        if isinstance(event, Phase):
            said(event.name)

    with executors.opened(executor) as ready:
        run_alone(ready, running, heard)
    _raise_unless_ok(order, folder, running)
    return {
        "folder": str(folder),
        **running.parts["made"],
        "quantize_s": running.parts["phases"]["quantize"],
        "next": f"qbench run {folder / SUITE}",
    }


def _check_folder(folder: Path) -> None:
    """Raises ModelError unless the folder can be made; leaves nothing behind."""
    if os.path.lexists(folder):
        raise ModelError(
            f"{folder} exists; a checkpoint is never overwritten, so choose another name or remove it"
        )
    above = next(parent for parent in folder.absolute().parents if os.path.lexists(parent))
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name[:100]}.", suffix=".part", dir=above):
            pass
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be made: {above}: {error.strerror}; choose another place"
        ) from error


def _cell(order: Order) -> Cell:
    """The order as a cell that measures nothing: the walk through a worker is then that of a suite."""
    method = registry.make(order.method, order.params)
    if not method.quantizes:
        raise MethodError(
            f"method {order.method} quantizes nothing; see qbench list methods for one that does"
        )
    layers = order.layers.model_dump()
    used = [method, *(rule.method for rule in overrides(method, layers["overrides"]))]
    calibration = _calibration(order, needed=any(one.needs_calibration for one in used))
    device, missing = Devices.here().find(order.device)
    if missing:
        raise DeviceError(missing)
    cell = Cell(
        model=_model(order),
        method=order.method,
        params=method.params(),
        dtype=order.dtype,
        device=device,
        label=" ".join([order.method, *(f"{key}={_text(value)}" for key, value in order.params.items())]),
        layers=layers,
        sections={calibration.key: calibration.values()} if calibration else {},
        seed=order.seed,
        memory_limit=order.memory_limit,
    )
    if reason := method.unsupported(cell):
        raise MethodError(f"method {order.method}: {reason}")
    return cell


def _calibration(order: Order, needed: bool) -> CalibrationSettings | None:
    """The cell's section of that name, as the planner of a suite fills it in.

    `qbench.run.worker.measurement.quantize` hands its windows to the method, as those of a suite's cells.
    """
    if needed:
        return (order.calibration or CalibrationSpec()).resolved(_CommandLine())
    if order.calibration is not None:
        raise MethodError(f"method {order.method} reads no calibration text; drop --calibration")
    return None


class _CommandLine:
    """The working folder: a section's paths begin there when there is no suite file."""

    def path(self, written: str) -> Path:
        return Path(written).expanduser()

    def error(self, path: tuple[str | int, ...], message: str) -> ModelError:
        return ModelError(message)


def _model(order: Order) -> ModelRef:
    ref = pin(order.source, None, order.revision, allow_pickle=order.allow_pickle)
    if order.revision and not ref.weights.startswith("hub:"):
        raise ModelError(f"only a hub model has revisions, and {order.source!r} is none; drop --revision")
    saved = saved_at(ref)
    if saved is not None:
        source = saved.origin.get("source")
        raise ModelError(
            f"{order.source!r} is quantized already ({saved.label}); start from the model that it was made "
            f"from{f': {value_text(source)}' if isinstance(source, str) else ''}"
        )
    return ref


def _origin(order: Order, cell: Cell) -> JsonObject:
    """The checkpoint's entries on its making; the worker adds its own."""
    spec = CalibrationSettings.of(cell)
    return {
        "qbench": qbench.__version__,
        "source": order.source,
        "weights": cell.model.weights,
        "revision": cell.model.revision,
        "note": _note(order.source),
        "dtype": cell.dtype,
        "method": cell.method,
        "params": cell.params,
        "label": cell.label,
        "layers": cell.layers,
        "calibration": spec
        and {
            "corpus": spec.corpus_name,
            "sha256": spec.corpus_sha256,
            "samples": spec.samples,
            "seqlen": spec.seqlen,
            "seed": spec.seed,
        },
        "seed": cell.seed,
        "date": utc_now(),
    }


def _note(source: str) -> str | None:
    """Note for readers on the model that the checkpoint was made from."""
    if source.startswith("builtin:"):
        return MODELS[source.removeprefix("builtin:")].note
    return _GGUF_NOTE if source.endswith(".gguf") else None


def _raise_unless_ok(order: Order, folder: Path, running: RunningCell) -> None:
    how = outcome(running)
    if how.status == "ok":
        return
    if how.status == "oom":
        raise ModelError(
            f"{order.source!r} does not fit: {how.reason}. Nothing stands under {folder}; try another "
            "--device or a machine with more memory"
        )
    if how.error is not None and how.error["type"] in _TYPES:
        raise _TYPES[how.error["type"]](how.error["message"])
    raise QbenchError(f"{how.reason}. Nothing stands under {folder}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else value_text(value)

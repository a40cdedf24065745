"""Measuring one cell inside its worker: load, quantize, probe. Each piece is said as soon as it is done."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
from torch import Tensor

from qbench.cell import Cell
from qbench.errors import DeviceError
from qbench.measure.bench import Bench
from qbench.measure.generation import check_context
from qbench.measure.process import Needs, Peak, rss_bytes
from qbench.models.corpora import read_corpus, read_documents
from qbench.models.load import LoadedModel, check_pinned, load_model
from qbench.models.windows import draw_windows
from qbench.probes.probe import Probe
from qbench.probes.quality.measure import base_outputs
from qbench.probes.quality.measure.attention import SplitAttention
from qbench.probes.quality.measure.perplexity import windows_of
from qbench.probes.registry import probes
from qbench.quant.method import registry
from qbench.quant.model.convert import bits_per_weight, layer_table, quantize_model
from qbench.run.worker.channel import Channel
from qbench.run.worker.events import MemoryNeeds, RoundsOver
from qbench.run.worker.loading import load
from qbench.suite.sections import CalibrationSettings


def measure(cell: Cell, channel: Channel) -> None:
    """Sends `environment`, `model`, `phases`, `samples` and `layers` as they come to be."""
    bench, needs = made_ready(cell, channel)
    for probe in probes().values():
        if probe.asked(cell):
            needs.note()
            if probe.clock == "rounds":
                channel.send(MemoryNeeds(needs.bytes()))
            run_probe(probe, bench, channel)
            if probe.clock == "rounds":
                channel.send(RoundsOver())
    channel.part("layers", layer_table(bench.model))


def run_probe(probe: Probe, bench: Bench, channel: Channel) -> None:
    """Sends the samples of one probe."""
    with channel.phase(probe.name, timed=probe.clock == "whole"):
        channel.part("samples", {probe.name: probe.measure()(bench)})


def made_ready(cell: Cell, channel: Channel) -> tuple[Bench, Needs]:
    """The cell's model, loaded and quantized, with what probes look at, and what it took of memory so far."""
    prepare(cell)
    channel.part("environment", _environment(cell))
    baseline_rss = rss_bytes()
    with channel.phase("load", timed=False):
        loaded = load(cell)
    channel.part("model", loaded.facts)
    needs = Needs(torch.device(cell.device))
    quantize_peak = quantize(cell, loaded, channel)
    baseline = {
        "disk_bytes": loaded.disk_bytes,
        "rss_bytes": baseline_rss,
        "quantize_peak_bytes": quantize_peak,
    }
    bench = _bench(cell, loaded, baseline)
    bench.slot, bench.siblings = channel.slot, lambda: channel.siblings
    return bench, needs


def keep_base_outputs(cell: Cell, channel: Channel) -> None:
    """Runs the cell's model unquantized over its text and keeps what it gives, unless it is kept already."""
    prepare(cell)
    key = base_outputs.key(cell, cell.model.weights)
    if base_outputs.facts(key) is not None:
        return
    with channel.phase("base", timed=False):
        check_pinned(cell.model)
        loaded = load_model(cell.model, cell.dtype, cell.device)
        bench = _bench(cell, loaded, {})
        size = base_outputs.write(key, bench.model, windows_of(bench).windows, bench.device)
        channel.part("base", {"bytes": size})


def _bench(cell: Cell, loaded: LoadedModel, baseline: dict[str, int | None]) -> Bench:
    origin = loaded.facts.get("origin") or {}
    return Bench(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        cell=cell,
        device=torch.device(cell.device),
        documents=read_documents,
        baseline=baseline,
        base_weights=origin.get("weights", cell.model.weights),
    )


def quantize(cell: Cell, loaded: LoadedModel, channel: Channel) -> int | None:
    """Quantizes in place, adds what came of it to the facts, and returns the worker's peak, in bytes."""
    method = registry.make(cell.method, cell.params)
    if not method.quantizes:
        return None
    windows = calibration_windows(cell, loaded)
    with channel.phase("quantize", timed=True), Peak(cell.device) as peak, SplitAttention():
        done = quantize_model(
            loaded.model, method, cell.layers, calibration=windows, allow_fallback=cell.allow_fallback
        )
    channel.part("phases", {"quantize": done.seconds})  # without the harness's checks
    found = {
        "left_unquantized": done.left,
        "bits_per_weight": bits_per_weight(loaded.model),
        "calibration_tokens": done.calibration_tokens,
    }
    loaded.facts.update(found)
    channel.part("model", found)
    return peak.bytes


def calibration_windows(cell: Cell, loaded: LoadedModel) -> Tensor | None:
    """The windows that the cell's calibration asks for; None where its methods need none."""
    wanted = CalibrationSettings.of(cell)
    if wanted is None:
        return None
    check_context(loaded.model, wanted.seqlen, "calibration.seqlen")
    text = read_corpus(wanted.corpus)
    return draw_windows(loaded.tokenizer, text, wanted.samples, wanted.seqlen, wanted.seed)


def prepare(cell: Cell) -> None:
    """Seeds and threads; raises DeviceError where torch does not see the device that was planned."""
    torch.set_num_threads(cell.threads or len(os.sched_getaffinity(0)))
    random.seed(cell.seed)
    np.random.seed(cell.seed)
    torch.manual_seed(cell.seed)
    if cell.device != "cpu":
        count = torch.cuda.device_count()
        if int(cell.device.partition(":")[2]) >= count:
            raise DeviceError(f"{cell.device} was planned from NVML's list, but torch sees {count} GPUs")
        torch.cuda.set_device(cell.device)  # events and streams that name no device mean this one


def _environment(cell: Cell) -> dict[str, object]:
    found: dict[str, object] = {"threads": torch.get_num_threads(), "load_average": os.getloadavg()}
    if cell.device != "cpu":
        properties = torch.cuda.get_device_properties(cell.device)
        found["gpu"] = {
            "name": properties.name,
            "uuid": str(properties.uuid),
            "capability": [properties.major, properties.minor],
        }
    return found

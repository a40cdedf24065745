"""Quantizing inside a worker and saving the result, for `qbench quantize`: half of a cell's walk."""

from __future__ import annotations

from qbench.cell import Cell
from qbench.errors import MethodError
from qbench.json_object import JsonObject
from qbench.quant.model.checkpoint import save_quantized
from qbench.quant.model.convert import quantized_layers
from qbench.quant.model.sizes import model_bytes
from qbench.run.worker.channel import Channel
from qbench.run.worker.loading import load
from qbench.run.worker.measurement import prepare, quantize
from qbench.run.worker.model_card import SUITE, model_card, suite_text


def save(cell: Cell, folder: str, origin: JsonObject, channel: Channel) -> None:
    """Writes the checkpoint under `folder`, whole or not at all, and sends `made`: what was done, in numbers.

    Raises MethodError where no layer was quantized, and whatever loading, quantizing and the disk raise.
    """
    prepare(cell)
    with channel.phase("load", timed=False):
        loaded = load(cell)
    before = model_bytes(loaded.model)
    quantize(cell, loaded, channel)
    count = sum(1 for _ in quantized_layers(loaded.model))
    if not count:
        raise MethodError("include, exclude and overrides leave no layer to quantize; loosen them")
    found = {key: loaded.facts[key] for key in ("left_unquantized", "bits_per_weight")}
    origin = {**origin, "layers_quantized": count, **found}
    after = model_bytes(loaded.model)
    with channel.phase("save", timed=False):
        texts = {
            "README.md": model_card(folder, origin),
            SUITE: suite_text(folder, cell.model, cell.device, origin),
        }
        size = save_quantized(loaded.model, folder, origin=origin, tokenizer=loaded.tokenizer, texts=texts)
    made = {"origin": origin, "weight_bytes_before": before, "weight_bytes": after, "folder_bytes": size}
    channel.part("made", made)

"""The model of a cell inside its worker: an ordinary one, or one that `qbench quantize` wrote."""

from __future__ import annotations

from qbench.cell import Cell
from qbench.errors import ModelError
from qbench.models.load import LoadedModel, check_pinned, load_model, load_tokenizer, model_facts, quiet
from qbench.models.saved import read_saved
from qbench.models.source import locate
from qbench.quant.method import registry
from qbench.quant.model.checkpoint import load_quantized
from qbench.quant.model.convert import bits_per_weight, quantized_layers


def load(cell: Cell) -> LoadedModel:
    """The pinned model in eval mode on the cell's device; ModelError where it changed or does not load."""
    check_pinned(cell.model)
    if registry.method_class(cell.method).reads_checkpoint:
        return _load_saved(cell)
    return load_model(cell.model, cell.dtype, cell.device)


def _load_saved(cell: Cell) -> LoadedModel:
    ref = cell.model
    checkpoint = locate(ref.source, ref.revision)
    saved = read_saved(checkpoint.folder)
    quiet()
    model = load_quantized(checkpoint.folder, cell.device).requires_grad_()  # as `load_model` says
    try:
        tokenizer = load_tokenizer(checkpoint, ref)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"{ref.source!r} has no tokenizer that loads: {type(error).__name__}: {error}"
        ) from error
    layers = [layer for _, layer in quantized_layers(model)]
    packed = sum(layer.spec.in_features * layer.spec.out_features for layer in layers)
    biases = sum(layer.bias.numel() for layer in layers if layer.bias is not None)
    found = model_facts(model, tokenizer, ref)
    facts = {
        **found,
        "parameters": found["parameters"] + packed + biases,  # packed ones are buffers, which it left out
        "left_unquantized": saved.origin.get("left_unquantized", {}),
        "bits_per_weight": bits_per_weight(model),
        "origin": saved.origin,
    }
    return LoadedModel(model, tokenizer, checkpoint.disk_bytes, facts)

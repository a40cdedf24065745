"""Saving a quantized model and loading it again, bit for bit.

A checkpoint is a folder with `config.json` (the float model's), `qbench.safetensors` (packed codes, scales
and zeros as plain tensors) and `qbench.json` (format, the layers' configurations, how each was made). The
weights are not called `model.safetensors` on purpose: transformers alone would find no weight of its own in
them and start from random ones with a warning; so it stops instead.

The folder is written under a temporary name, flushed to the disk and renamed: under its final name it is
whole or absent, whenever the process is killed.
"""

from __future__ import annotations

import copy
import json
import math
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qbench.errors import KernelError, ModelError
from qbench.json_object import JsonObject
from qbench.quant.layer.layer_facts import LayerFacts
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.model.convert import aliases, place, quantized_layers
from qbench.quant.model.skeleton import fingerprint, skeleton, unsaved_buffers

FORMAT = 2
FACTS = "qbench.json"
WEIGHTS = "qbench.safetensors"


def save_quantized(
    model: Any,
    folder: Path | str,
    *,
    origin: JsonObject,
    tokenizer: Any = None,
    texts: Mapping[str, str] | None = None,
) -> int:
    """Writes a checkpoint and returns its size in bytes.

    `origin` says where the model came from, in JSON values; `tokenizer`, when given, is saved beside the
    weights, and so are `texts`, by file name, such as a model card. Raises ModelError where the folder
    exists, and OSError where the disk does not take it.
    """
    folder = Path(folder)
    if folder.exists():
        raise ModelError(
            f"{folder} exists; a checkpoint is never overwritten, so choose another name or remove it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    draft.mkdir()
    try:
        _write(model, draft, origin)
        if tokenizer is not None:
            tokenizer.save_pretrained(draft)
        for name, text in (texts or {}).items():
            (draft / name).write_text(text, encoding="utf-8")
        for path in [*(path for path in draft.rglob("*") if path.is_file()), draft]:
            _flush(path)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _flush(folder.parent)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def load_quantized(folder: Path | str, device: str = "cpu") -> nn.Module:
    """The model as it was saved, in eval mode; the same input gives the same logits.

    Raises ModelError for anything that is not such a checkpoint: a missing or broken file, a format of
    the future, a tensor that is missing, left over, or of another shape or dtype than its layer takes.
    """
    folder = Path(folder)
    known = _read_facts(folder)
    try:
        model = _empty(folder, known)
        tensors = _read_tensors(folder / WEIGHTS, device)
    except (OSError, SafetensorError, KernelError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder} does not load: {type(error).__name__}: {error}") from error
    _fill(model, tensors, known["tied"], folder)
    _check_unsaved(model, known["unsaved_buffers"], folder)
    return model.to(device)


def _write(model: Any, draft: Path, origin: JsonObject) -> None:
    tensors, ties = _distinct(model.state_dict())
    unquantized = sorted(name for name, tensor in tensors.items() if tensor.is_meta)
    if unquantized:
        raise ModelError(f"{unquantized[0]} lies on the meta device: the model is not loaded")
    known = {
        "format": FORMAT,
        "class": type(model).__name__,
        "dtype": _dtype_name(model.dtype),
        "attention": getattr(model.config, "_attn_implementation", None),
        "origin": origin,
        "tied": ties,
        "unsaved_buffers": {name: fingerprint(buffer) for name, buffer in unsaved_buffers(model).items()},
        "layers": {
            name: {"config": layer.config(), "aliases": aliases(model, name), "facts": layer.facts.to_dict()}
            for name, layer in quantized_layers(model)
        },
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft / WEIGHTS)
    (draft / WEIGHTS).chmod(0o666 & ~_umask())  # safetensors leaves it to its owner alone
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):  # a mark of the file that the weights came from, such as GGUF
        del config.quantization_config
    config.architectures = [type(model).__name__]
    config.save_pretrained(draft)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(draft)
    (draft / FACTS).write_text(json.dumps(known, indent=1, allow_nan=False), encoding="utf-8")


def _distinct(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors to store, and for each further name of one of them, the name that is stored."""
    first: dict[tuple[Any, ...], str] = {}
    ties: dict[str, str] = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())
        source = first.setdefault(key, name) if tensor.numel() and not tensor.is_meta else name
        if source != name:
            ties[name] = source
    return {name: tensor for name, tensor in state.items() if name not in ties}, ties


def _read_facts(folder: Path) -> JsonObject:
    """The content of qbench.json, with every key that loading uses."""
    try:
        known = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} is no qbench checkpoint: it has no {FACTS}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / FACTS} cannot be read: {error}") from error
    if not isinstance(known, dict) or known.get("format") != FORMAT:
        found = known.get("format") if isinstance(known, dict) else known
        raise ModelError(
            f"{folder}: checkpoint format {found!r}, this qbench reads {FORMAT}; "
            "use the qbench that wrote it, or quantize the model again"
        )
    kinds = {"class": str, "dtype": str, "tied": dict, "unsaved_buffers": dict, "layers": dict}
    for key, kind in kinds.items():
        if not isinstance(known.get(key), kind):
            raise ModelError(f"{folder / FACTS}: {key!r} is missing or no {kind.__name__}")
    return known


def _read_tensors(path: Path, device: str) -> dict[str, Tensor]:
    """The tensors of a file, each in memory of its own.

    The file aligns them to 8 bytes, and torch's int8 kernel for a CPU reads codes that are not aligned to
    16 past what the processor allows and kills the process; memory that torch allocates is aligned to 64.
    """
    with safe_open(path, framework="pt", device=device) as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)


def _empty(folder: Path, known: JsonObject) -> nn.Module:
    """The model with its quantized layers in place and every parameter on meta."""
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model = skeleton(config, getattr(torch, known["dtype"]), known.get("attention"))
    if type(model).__name__ != known["class"]:
        raise ModelError(f"{folder} holds a {known['class']}, its config.json makes a {type(model).__name__}")
    for name, layer in known["layers"].items():
        empty = QuantizedLinear.from_config(layer["config"], name, device="meta")
        place(model, (name, *layer["aliases"]), empty, LayerFacts.from_dict(layer["facts"]))
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model.eval()


def _fill(model: nn.Module, tensors: dict[str, Tensor], ties: dict[str, str], folder: Path) -> None:
    """Puts the stored tensors into the model; ModelError unless each fits and none is missing or too many."""
    wanted = {name: tensor for name, tensor in model.state_dict().items() if name not in ties}
    packed = {name for name, _ in quantized_layers(model)}
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise ModelError(f"{folder}: tensor {name} is missing")
        if name not in wanted:
            raise ModelError(f"{folder}: tensor {name} belongs to no layer of the model")
        found, asked = tensors[name], wanted[name]
        same_dtype = found.dtype == asked.dtype or name.rpartition(".")[0] not in packed
        if found.shape != asked.shape or not same_dtype:
            raise ModelError(
                f"{folder}: tensor {name} is {_dtype_name(found.dtype)} {tuple(found.shape)}, "
                f"the layer takes {_dtype_name(asked.dtype)} {tuple(asked.shape)}"
            )
    model.load_state_dict(
        {**tensors, **{name: tensors[source] for name, source in ties.items()}}, assign=True
    )
    for name, source in ties.items():
        _tie(model, name, source)
    model.requires_grad_(False)


def _tie(model: nn.Module, name: str, source: str) -> None:
    """Makes two names hold one parameter (or buffer) again."""
    parent, _, leaf = name.rpartition(".")
    origin, _, origin_leaf = source.rpartition(".")
    setattr(model.get_submodule(parent), leaf, getattr(model.get_submodule(origin), origin_leaf))


def _check_unsaved(model: nn.Module, saved: JsonObject, folder: Path) -> None:
    """Brings rebuilt buffers to the dtype that they had and raises ModelError where they differ."""
    for name, buffer in unsaved_buffers(model).items():
        parent, _, leaf = name.rpartition(".")
        if name in saved:
            buffer = buffer.to(getattr(torch, saved[name]["dtype"]))
            setattr(model.get_submodule(parent), leaf, buffer)
        found, before = fingerprint(buffer), saved.get(name)
        same = before is not None and math.isclose(found["magnitude"], before["magnitude"], rel_tol=1e-5)
        if before is None or not same or {**found, "magnitude": 0} != {**before, "magnitude": 0}:
            raise ModelError(f"{folder}: buffer {name} was rebuilt as {found}, it was {before} when saved")


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _umask() -> int:
    """The process's own; reading it is setting it."""
    found = os.umask(0)
    os.umask(found)
    return found


def _flush(path: Path) -> None:
    """fsync of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Loading a pinned model for one cell: transformers does the reading, this file makes it strict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qbench.cell import ModelRef
from qbench.errors import ModelError
from qbench.json_object import JsonObject
from qbench.models.source import Checkpoint, locate, pin

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class LoadedModel:
    model: nn.Module
    tokenizer: Any
    disk_bytes: int
    facts: JsonObject


def load_model(ref: ModelRef, dtype: str, device: str) -> LoadedModel:
    """The model in eval mode on its device, its tokenizer, and facts about it for the record.

    Raises ModelError where the weights are no longer those that were pinned, or do not fit the config.
    """
    quiet()
    checkpoint = locate(ref.source, ref.revision, allow_pickle=ref.allow_pickle, code=ref.trust_remote_code)
    if checkpoint.quantized:
        raise ModelError(
            f"{ref.source!r} is quantized already (qbench quantize wrote it): only method saved runs on it. "
            "To quantize otherwise, start from the model that it was made from"
        )
    try:
        if ref.weights.startswith("random:"):
            model = _random(checkpoint, ref, DTYPES[dtype])
        else:
            model = _pretrained(checkpoint, ref, DTYPES[dtype])
        tokenizer = load_tokenizer(checkpoint, ref)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"model {ref.source!r} does not load: {type(error).__name__}: {error}") from error
    # Parameters stay trainable, as `from_pretrained` leaves them and everybody runs them: where a weight asks
    # for no gradient, torch's matmul takes another path for the last position of a prompt, and in bf16 on a
    # CPU copies the whole head for it (48 ms instead of 3 for 49,152 words).
    model = model.to(device).eval()
    return LoadedModel(model, tokenizer, checkpoint.disk_bytes, model_facts(model, tokenizer, ref))


def load_tokenizer(checkpoint: Checkpoint, ref: ModelRef) -> Any:
    """The tokenizer beside the weights; transformers' own errors where it does not load."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(
        checkpoint.folder,
        gguf_file=checkpoint.gguf,
        local_files_only=True,
        trust_remote_code=ref.trust_remote_code,
    )


def quiet() -> None:
    """No warnings and progress bars of transformers: what matters is checked here and raised."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def check_pinned(ref: ModelRef) -> None:
    """Raises ModelError where the files changed since the plan was made (hub commits cannot)."""
    if ref.weights.startswith("sha256:"):
        now = pin(
            ref.source,
            ref.name,
            ref.revision,
            trust_remote_code=ref.trust_remote_code,
            allow_pickle=ref.allow_pickle,
        )
        if now.weights != ref.weights:
            raise ModelError(f"the weights of {ref.source!r} changed while the suite was running")


def _pretrained(checkpoint: Checkpoint, ref: ModelRef, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        checkpoint.folder,
        gguf_file=checkpoint.gguf,
        dtype=dtype,
        use_safetensors=None if ref.allow_pickle or checkpoint.gguf else True,
        trust_remote_code=ref.trust_remote_code,
        local_files_only=True,
        output_loading_info=True,
    )
    wrong = {
        what: sorted(map(str, info[what])) for what in ("missing_keys", "mismatched_keys") if info.get(what)
    }
    if wrong:
        raise ModelError(f"the checkpoint of {ref.source!r} does not fill its model: {wrong}")
    if checkpoint.gguf:
        # transformers leaves a GGUF model marked as quantized, though its weights are plain floats now.
        for owner, mark in ((model.config, "quantization_config"), (model, "hf_quantizer")):
            if hasattr(owner, mark):
                delattr(owner, mark)
    return model


def _random(checkpoint: Checkpoint, ref: ModelRef, dtype: torch.dtype) -> Any:
    """Weights drawn by the model's own initialisation: right for speed and memory only."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(int(ref.weights.split(":")[1]))
    config = AutoConfig.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=ref.trust_remote_code
    )
    return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=ref.trust_remote_code)


def model_facts(model: Any, tokenizer: Any, ref: ModelRef) -> JsonObject:
    """Facts of the loaded model for the record."""
    config = model.config
    head = model.get_output_embeddings()
    embedding = model.get_input_embeddings()
    return {
        "class": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights": "random" if ref.weights.startswith("random:") else "pretrained",
        "layers": getattr(config, "num_hidden_layers", None),
        "hidden_size": getattr(config, "hidden_size", None),
        "vocabulary": getattr(config, "vocab_size", None),
        "context": getattr(config, "max_position_embeddings", None),
        "tied_head": bool(head is not None and head.weight is embedding.weight),
        "attention": getattr(config, "_attn_implementation", None),
        "tokenizer": type(tokenizer).__name__,
    }

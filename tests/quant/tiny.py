"""Tiny random models for the tests of this folder: a Llama, a GPT-2 (Conv1D), and the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import qbench.data

EMBEDDED = Path(qbench.data.__path__[0]) / "austen-6m"


def llama(dtype: torch.dtype = torch.float32, *, tie: bool = True) -> Any:
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tie,
    )
    return AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(False)


def gpt2(dtype: torch.dtype = torch.float32) -> Any:
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=96, n_embd=64, n_layer=2, n_head=4, n_positions=64)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):  # they start at zero, where a lost bias would not show
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval().requires_grad_(False)


def embedded() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(EMBEDDED, dtype=torch.bfloat16, local_files_only=True).eval()


@torch.no_grad()
def logits(model: Any, tokens: int = 12) -> torch.Tensor:
    """(tokens, vocabulary) in float64, of a fixed prompt."""
    ids = torch.arange(tokens)[None] * 29 % 96
    made: torch.Tensor = model(input_ids=ids.to(model.device)).logits[0].double()
    return made

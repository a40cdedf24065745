"""The embedded model, and small random ones, ready for a probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import qbench
from qbench.cell import Cell, ModelRef
from qbench.measure.bench import Bench
from qbench.models.corpora import corpus_sha256
from qbench.probes.registry import probes

AUSTEN = Path(qbench.__file__).parent / "data" / "austen-6m"
PERSUASION = (AUSTEN.parent / "persuasion.txt").read_text(encoding="utf-8")


def tiny_llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 97,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    return LlamaForCausalLM(LlamaConfig(**{**shape, **changes})).eval()


def bench_of(model: Any, tokenizer: Any = None, **settings: Any) -> Bench:
    """A bench on the CPU; `settings` are a cell's `quality`, `latency`, `energy` and such."""
    baseline = settings.pop("baseline", {})
    names = [probe.section for probe in probes().values() if settings.get(probe.section) is not None]
    sections = {name: settings.pop(name) for name in names}
    if "quality" in sections:
        sections["quality"] = {**sections["quality"], "corpus_sha256": corpus_sha256([PERSUASION])}
    cell = Cell(
        model=ModelRef("m", "builtin:austen-6m", "sha256:0"),
        method="none",
        params={},
        dtype="fp32",
        device="cpu",
        label="none",
        sections=sections,
        **settings,
    )
    return Bench(model, tokenizer, cell, torch.device("cpu"), lambda corpus: [PERSUASION], baseline)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(AUSTEN)


@pytest.fixture(scope="session")
def austen() -> Any:
    """The embedded model in float32; tests must not change it."""
    return AutoModelForCausalLM.from_pretrained(AUSTEN, dtype=torch.float32).eval()

"""What the probe measures; runs in the worker."""

from __future__ import annotations

import time
from typing import Any

import torch

from qbench.measure.bench import Bench
from token_time import TokenizerSpec


def measure(bench: Bench) -> dict[str, Any]:
    settings = TokenizerSpec.required(bench.cell)
    assert isinstance(bench.model, torch.nn.Module)
    text = " ".join(["truth"] * settings.words)
    seconds, ids = [], []
    for _ in range(settings.repetitions):
        started = time.perf_counter()
        ids = bench.tokenizer(text)["input_ids"]
        seconds.append(time.perf_counter() - started)
    return {"unit": "s", "seconds": seconds, "tokens": len(ids)}

"""The unquantized model's outputs on a text, made once and kept: what divergence is measured from.

Kept are the hidden states that go into the output embedding, in the model's own dtype, and that embedding:
from the two every logit comes again exactly, at a hundredth of the logits' size. A model that cannot be split
there (see `head.py`) has its logits kept. Nothing of a quantized model is ever written here.

The key hashes all that the states follow from: weights, revision, dtype, text, protocol, windows, device,
threads and the versions of what computes. A file is written under another name and moved into place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qbench.cache import cache_folder
from qbench.cell import Cell
from qbench.errors import ModelError
from qbench.json_object import JsonObject
from qbench.probes.quality.measure.attention import SplitAttention
from qbench.probes.quality.measure.head import PROBE_TOKENS, after_head, sliced_head
from qbench.probes.quality.measure.protocols import Window
from qbench.probes.quality.measure.scored_rows import batches, scored_rows

FORMAT = 2
MOST_BYTES = 16 << 30


def key(cell: Cell, weights: str) -> JsonObject:
    """Everything that the outputs of the unquantized model follow from, as JSON values."""
    quality = cell.identity()["quality"]
    kept = {name: value for name, value in quality.items() if name != "divergence"}
    on_gpu = torch.device(cell.device).type == "cuda"
    name = torch.cuda.get_device_name(cell.device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {
        "format": FORMAT,
        "weights": weights,
        "dtype": cell.dtype,
        "quality": kept,
        "device": name,
        "threads": None if on_gpu else torch.get_num_threads(),
        "versions": {package: version(package) for package in ("torch", "transformers", "tokenizers")},
    }


def path(key: JsonObject) -> Path:
    """The file of outputs with this key, whether it is there or not."""
    text = json.dumps(key, sort_keys=True, separators=(",", ":"))
    return cache_folder() / "base" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


@torch.inference_mode()
def write(key: JsonObject, model: Any, windows: Sequence[Window], device: torch.device) -> int:
    """Runs the unquantized model over the windows and keeps what it gives; returns the file's bytes.

    Raises ModelError where it would be larger than `MOST_BYTES`.
    """
    split = sliced_head(model, torch.tensor([windows[0].ids[:PROBE_TOKENS]], device=device))
    # a subclass may compute something else: `SlicedHead.in_float32` keeps to the plain layer too
    head = split.head if split is not None and type(split.head) is nn.Linear else None
    if head is None:
        split = None
    _check_size(model, windows, whole=head is None)
    rows = []
    with SplitAttention():
        for batch in batches(windows, device, split is not None):
            rows.append(scored_rows(model, split, batch, device)[0].cpu())
    kept = {"rows": torch.cat(rows)}
    if head is not None:
        state = head.state_dict()
        kept |= {f"head.{name}": value.detach().cpu().contiguous() for name, value in state.items()}
    file = path(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        save_file(kept, unfinished, _facts(key, windows))
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return file.stat().st_size


def facts(key: JsonObject) -> dict[str, str] | None:
    """Description in the file with this key; None where there is none, or none that can be read."""
    try:
        with safe_open(path(key), "pt") as found:
            said: dict[str, str] | None = found.metadata()
    except (OSError, SafetensorError):
        return None
    return said if said and said.get("key") == json.dumps(key, sort_keys=True) else None


def _facts(key: JsonObject, windows: Sequence[Window]) -> dict[str, str]:
    """Description of a file: the whole key, and a hash of the tokens that were scored."""
    tokens = json.dumps([[window.first, *window.ids] for window in windows])
    digest = hashlib.sha256(tokens.encode()).hexdigest()
    return {"key": json.dumps(key, sort_keys=True), "windows": digest}


def _check_size(model: Any, windows: Sequence[Window], whole: bool) -> None:
    config = model.config.get_text_config()
    width = config.vocab_size if whole else config.hidden_size
    size = sum(window.scored for window in windows) * width * model.dtype.itemsize
    if size > MOST_BYTES:
        raise ModelError(
            f"the unquantized model's outputs would take {size / 2**30:.0f} GiB of cache; lower "
            "quality.max_windows, or say divergence: false"
        )


@dataclass(frozen=True)
class BaseOutputs:
    """Outputs that `write` kept, to be read a run of tokens at a time."""

    rows: Tensor
    """(T, H) hidden states, or (T, V) logits, of all scored tokens in their order."""
    weight: Tensor | None
    """(V, H) of the output embedding, float32."""
    bias: Tensor | None
    after: Any
    device: torch.device

    @property
    def vocabulary(self) -> int:
        return len(self.rows[0] if self.weight is None else self.weight)

    @classmethod
    def read(
        cls, key: JsonObject, model: Any, windows: Sequence[Window], device: torch.device
    ) -> BaseOutputs | None:
        """The outputs with this key, of these windows; None where there are none. `model` tells what follows
        the head."""
        if facts(key) != _facts(key, windows):
            return None
        with safe_open(path(key), "pt") as found:
            kept = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
        weight, bias = kept.get("head.weight"), kept.get("head.bias")
        return cls(
            kept["rows"],
            None if weight is None else weight.to(device, torch.float32),
            None if bias is None else bias.to(device, torch.float32),
            after_head(model.config.get_text_config()),
            device,
        )

    def logits(self, first: int, count: int) -> Tensor:
        """Float32 logits (count, V) of the scored tokens from `first` on."""
        rows = self.rows[first : first + count].to(self.device, torch.float32, copy=True)
        if self.weight is None:
            return rows
        logits = F.linear(rows, self.weight, self.bias)
        for function, value in self.after:
            logits = function(logits, value)
        return logits

"""A loaded model is what everybody runs: nothing about it makes torch take another path."""

from __future__ import annotations

import torch

from qbench.measure.generation import Generation
from qbench.models.load import load_model
from qbench.models.source import pin
from qbench.probes.memory.measure.allocations import track


def test_a_prefill_does_not_copy_the_head() -> None:
    """A weight that asks for no gradient would be copied whole for the last position of a prompt, in bf16."""
    model = load_model(pin("builtin:austen-6m", None), "bf16", "cpu").model
    head = model.get_output_embeddings().weight
    size = head.numel() * head.element_size()

    @torch.inference_mode()
    def prefill() -> None:
        Generation(model, torch.ones(1, 16, dtype=torch.long)).prefill()

    found = track(prefill, torch.device("cpu"))
    assert found is not None
    assert found.peak < size / 2
    model.requires_grad_(False)
    frozen = track(prefill, torch.device("cpu"))
    assert frozen is not None
    if torch.__version__ >= "2.13":  # what this guards against is there to be seen
        assert frozen.peak > size

"""Divergence against its definition in float64, and the base's outputs: exact, keyed by all, never mixed."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma2ForCausalLM

from qbench.cell import ModelRef
from qbench.errors import ModelError
from qbench.probes.quality.measure import base_outputs, head, perplexity
from qbench.probes.quality.measure.base_outputs import BaseOutputs
from qbench.probes.quality.measure.divergence import QUANTILES, Divergence
from qbench.probes.quality.measure.perplexity import windows_of
from qbench.probes.quality.measure.protocols import Window
from qbench.probes.quality.measure.scoring import score
from qbench.quant.method import registry
from qbench.quant.model.convert import quantize_model
from tests.probes.conftest import bench_of, tiny_llama
from tests.probes.quality.test_perplexity import after_head_models

CPU = torch.device("cpu")
QUALITY = {
    "corpus": "x.txt",
    "corpus_sha256": "ab",
    "protocol": "gptq",
    "seqlen": 32,
    "stride": None,
    "max_windows": 3,
    "divergence": True,
}
EVERYTHING = {"include": ["*"], "exclude": [], "overrides": []}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    return tmp_path


def windows(vocabulary: int, count: int = 5, length: int = 33) -> list[Window]:
    generator = torch.Generator().manual_seed(1)
    return [
        Window(torch.randint(vocabulary, (length,), generator=generator).tolist(), first)
        for first in range(1, count + 1)
    ]


def log_p(model: Any, window: Window) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(scored, V) in float64, from the model's own logits."""
    with torch.no_grad():
        logits = model(torch.tensor([list(window.ids)])).logits[0].double()
    found: np.ndarray[Any, np.dtype[np.float64]] = logits.log_softmax(-1)[window.first - 1 : -1].numpy()
    return found


def kept(model: Any, scored: list[Window], key: dict[str, Any] | None = None) -> BaseOutputs:
    name = key or {"test": True}
    base_outputs.write(name, model, scored, CPU)
    found = BaseOutputs.read(name, model, scored, CPU)
    assert found is not None
    return found


def disturbed(model: Any, size: float) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += size * parameter.std() * torch.randn(parameter.shape)
    return model


def test_equals_the_definition_in_float64() -> None:
    base, cell = tiny_llama(), disturbed(tiny_llama(), 0.2)
    scored = windows(97)
    found = score(cell, scored, CPU, kept(base, scored)).divergence
    assert found is not None
    every = []
    for index, window in enumerate(scored):
        p, q = log_p(base, window), log_p(cell, window)
        kl = (np.exp(p) * (p - q)).sum(-1)
        told = list(window.ids[window.first :])
        delta = np.array([math.exp(q[i, t]) - math.exp(p[i, t]) for i, t in enumerate(told)])
        assert found["kl"][index] == pytest.approx(kl.sum(), rel=1e-4)
        assert found["agree"][index] == (p.argmax(-1) == q.argmax(-1)).sum()
        assert found["delta_p_squared"][index] == pytest.approx((delta**2).sum(), rel=1e-4)
        every.append(kl)
    whole = np.concatenate(every)
    wanted = {str(q): float(np.quantile(whole, q)) for q in QUANTILES}
    assert found["kl_quantiles"] == pytest.approx(wanted, rel=1e-3)
    assert found["kl_max"] == pytest.approx(whole.max(), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_at_exactly_no_distance_from_itself(dtype: torch.dtype, tied: bool) -> None:
    model = tiny_llama(tie_word_embeddings=tied).to(dtype)
    scored = windows(97)
    found = score(model, scored, CPU, kept(model, scored)).divergence
    assert found is not None
    assert (set(found["kl"]), found["kl_max"], set(found["delta_p_squared"])) == ({0.0}, 0.0, {0.0})
    assert found["agree"] == [window.scored for window in scored]


@pytest.mark.parametrize("model", after_head_models(), ids=lambda model: type(model).__name__)
def test_what_models_do_after_the_head_counts(model: Any) -> None:
    model.eval()
    scored = windows(97, length=21)
    base = kept(model, scored)
    disturbed(model, 0.3)
    found = score(model, scored, CPU, base).divergence
    original = next(other for other in after_head_models() if type(other) is type(model)).eval()
    p, q = (np.concatenate([log_p(one, window) for window in scored]) for one in (original, model))
    assert found is not None
    assert sum(found["kl"]) == pytest.approx((np.exp(p) * (p - q)).sum(), rel=1e-3)


def test_a_model_that_cannot_be_split_keeps_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "AFTER_HEAD", {})
    capped = after_head_models()[0].eval()
    assert isinstance(capped, Gemma2ForCausalLM)
    scored = windows(97, length=21)
    base = kept(capped, scored)
    assert base.weight is None
    assert base.rows.shape == (sum(window.scored for window in scored), 97)
    found = score(capped, scored, CPU, base).divergence
    assert found is not None
    assert found["kl_max"] == 0.0


def test_rounding_logits_to_bf16_is_no_divergence() -> None:
    """Logits come from a product in float32: they are finer than bf16."""
    base = tiny_llama(tie_word_embeddings=False).to(torch.bfloat16)
    scored = windows(97)
    outputs = kept(base, scored)
    rows = outputs.logits(0, 8)
    assert rows.dtype == torch.float32
    assert not torch.equal(rows, rows.to(torch.bfloat16).float())


def test_tiny_divergences_are_not_lost_in_rounding() -> None:
    """KL of two near distributions is Σ p·δ²/2: 1e-9 here, far below the rounding of a log-probability."""
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(4, 1000, generator=generator)
    change = 4e-5 * torch.randn(4, 1000, generator=generator)
    p, q = base.double().log_softmax(-1), (base + change).double().log_softmax(-1)
    wanted = (p.exp() * (p - q)).sum(-1)
    found = Divergence()
    found.add(base.clone(), base + change, torch.zeros(4, dtype=torch.long))
    assert float(wanted.max()) < 2e-9
    assert (torch.cat(found.kl) - wanted).abs().max() < 2e-8


def test_two_quantizations_on_one_cache_do_not_meet(tokenizer: Any) -> None:
    """Each is measured from the unquantized model, whichever came before it and left what it left."""
    original = tiny_llama(vocab_size=4096, intermediate_size=128)

    def measured(method: str, bits: int) -> dict[str, Any]:
        model = copy.deepcopy(original)
        bench = bench_of(model, tokenizer, quality=QUALITY)
        made = registry.make(method, {"num_bits": bits})
        quantize_model(model, made, EVERYTHING, calibration=None, allow_fallback=False)
        bench = replace(bench, cell=replace(bench.cell, method=method), base_weights="sha256:0")
        return perplexity.measure(bench)

    bench = bench_of(original, tokenizer, quality=QUALITY)
    key = base_outputs.key(bench.cell, "sha256:0")
    base_outputs.write(key, original, windows_of(bench).windows, CPU)
    files = sorted(Path(base_outputs.path({})).parent.iterdir())
    three, eight = measured("hqq", 3), measured("absmax", 8)
    assert [measured("absmax", 8)["divergence"], measured("hqq", 3)["divergence"]] == [
        eight["divergence"],
        three["divergence"],
    ]
    assert sum(three["divergence"]["kl"]) > 10 * sum(eight["divergence"]["kl"]) > 0
    assert sorted(Path(base_outputs.path({})).parent.iterdir()) == files  # nobody wrote


def test_the_key_holds_all_that_the_outputs_follow_from(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = bench_of(tiny_llama(), tokenizer, quality=QUALITY).cell
    variants = [base_outputs.key(cell, "sha256:0"), base_outputs.key(cell, "sha256:1")]
    variants.append(base_outputs.key(replace(cell, dtype="bf16"), "sha256:0"))
    for change in (
        {"protocol": "strided", "stride": 16},
        {"seqlen": 64},
        {"max_windows": 4},
        {"corpus_sha256": "cd"},
    ):
        variants.append(
            base_outputs.key(replace(cell, sections={"quality": {**QUALITY, **change}}), "sha256:0")
        )
    monkeypatch.setattr(base_outputs, "version", lambda package: "0.0")
    variants.append(base_outputs.key(cell, "sha256:0"))
    monkeypatch.undo()
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        variants.append(base_outputs.key(cell, "sha256:0"))
    finally:
        torch.set_num_threads(before)
    assert len({base_outputs.path(key) for key in variants}) == len(variants)
    same = replace(cell, method="hqq", params={"num_bits": 3}, model=ModelRef("other name", "x", "sha256:0"))
    assert base_outputs.key(same, "sha256:0") == base_outputs.key(cell, "sha256:0")


def test_outputs_of_another_key_or_other_windows_are_never_read() -> None:
    model, scored = tiny_llama(), windows(97)
    base_outputs.write({"a": 1}, model, scored, CPU)
    assert BaseOutputs.read({"a": 1}, model, scored, CPU) is not None
    assert BaseOutputs.read({"a": 1}, model, scored[:-1], CPU) is None
    assert BaseOutputs.read({"a": 2}, model, scored, CPU) is None
    base_outputs.path({"a": 1}).rename(base_outputs.path({"a": 2}))
    assert base_outputs.facts({"a": 2}) is None
    assert BaseOutputs.read({"a": 2}, model, scored, CPU) is None


def test_a_file_that_was_spoiled_counts_as_none_and_is_made_again() -> None:
    model, scored = tiny_llama(), windows(97)
    base_outputs.write({"a": 1}, model, scored, CPU)
    base_outputs.path({"a": 1}).write_bytes(b"\0" * 100)
    assert base_outputs.facts({"a": 1}) is None
    assert BaseOutputs.read({"a": 1}, model, scored, CPU) is None
    base_outputs.write({"a": 1}, model, scored, CPU)
    assert BaseOutputs.read({"a": 1}, model, scored, CPU) is not None


def test_without_the_base_the_reason_stands_in_its_place(tokenizer: Any) -> None:
    sample = perplexity.measure(bench_of(tiny_llama(vocab_size=4096), tokenizer, quality=QUALITY))
    assert sample["divergence"] == {
        "value": None,
        "reason": "the unquantized model's outputs could not be made or read",
    }
    assert sample["reasons"]["kl_divergence"] == sample["divergence"]["reason"]
    off = {**QUALITY, "divergence": False}
    sample = perplexity.measure(bench_of(tiny_llama(vocab_size=4096), tokenizer, quality=off))
    assert sample["divergence"] is None
    assert sample["reasons"]["top1_agreement"] == "quality.divergence is false"


def test_logits_that_are_not_finite_give_no_divergence() -> None:
    base, cell = tiny_llama(), tiny_llama()
    scored = windows(97)
    outputs = kept(base, scored)
    with torch.no_grad():
        cell.model.norm.weight.fill_(float("nan"))
    found = score(cell, scored, CPU, outputs).divergence
    assert found == {"value": None, "reason": "the cell's or the base's logits are not finite"}


def test_outputs_too_large_to_keep_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_outputs, "MOST_BYTES", 1000)
    with pytest.raises(ModelError, match=r"lower quality\.max_windows, or say divergence: false"):
        base_outputs.write({"a": 1}, tiny_llama(), windows(97), CPU)


def test_a_writer_that_dies_leaves_nothing_that_could_be_read(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def half(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half a file")
        raise OSError("the disk is full")

    monkeypatch.setattr(base_outputs, "save_file", half)
    with pytest.raises(OSError, match="disk is full"):
        base_outputs.write({"a": 1}, tiny_llama(), windows(97), CPU)
    assert list((cache / "base").iterdir()) == []
    assert BaseOutputs.read({"a": 1}, tiny_llama(), windows(97), CPU) is None

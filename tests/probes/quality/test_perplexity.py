"""The perplexity probe against plain loops over full logits in float64."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Any

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
)

from qbench.errors import ModelError
from qbench.probes.quality.measure import head, perplexity
from qbench.probes.quality.measure import scored_rows as rows
from qbench.probes.quality.measure.protocols import Rule, Window, cut
from qbench.probes.quality.measure.scoring import score
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.layer.linear import QuantizedLinear
from tests.probes.conftest import PERSUASION, bench_of, tiny_llama

CPU = torch.device("cpu")


def plain_nll(model: Any, window: Window) -> float:
    """Σ −log p by the definition: full logits, log-softmax in float64."""
    with torch.no_grad():
        logits = model(torch.tensor([list(window.ids)])).logits[0].double()
    log_p = logits - torch.logsumexp(logits, -1, keepdim=True)
    return -sum(float(log_p[i - 1, window.ids[i]]) for i in range(window.first, len(window.ids)))


def gptq_windows(tokenizer: Any, text: str, seqlen: int, most: int | None) -> list[Window]:
    return cut("gptq", tokenizer, [text], Rule(seqlen, seqlen, most)).windows


def random_windows(vocabulary: int, lengths: list[int], firsts: list[int]) -> list[Window]:
    generator = torch.Generator().manual_seed(1)
    return [
        Window(torch.randint(vocabulary, (length,), generator=generator).tolist(), first)
        for length, first in zip(lengths, firsts, strict=True)
    ]


def test_equals_a_plain_float64_loop_for_any_lengths_and_first_positions() -> None:
    model = tiny_llama()
    windows = random_windows(97, [33, 33, 33, 17, 2, 64, 64, 33], [1, 1, 5, 16, 1, 63, 1, 32])
    scores = score(model, windows, CPU)
    assert scores.head == "sliced"
    assert scores.nll == pytest.approx([plain_nll(model, window) for window in windows], rel=1e-6)


def test_embedded_model_equals_a_plain_loop(austen: Any, tokenizer: Any) -> None:
    windows = gptq_windows(tokenizer, PERSUASION, 512, 3)
    scores = score(austen, windows, CPU)
    assert scores.nll == pytest.approx([plain_nll(austen, window) for window in windows], rel=1e-6)


@pytest.mark.slow
def test_embedded_model_has_its_published_perplexity(austen: Any, tokenizer: Any) -> None:
    """47.21: data/README.md, measured with other code."""
    windows = gptq_windows(tokenizer, PERSUASION, 512, 200)
    scores = score(austen, windows, CPU)
    total = math.exp(sum(scores.nll) / sum(window.scored for window in windows))
    assert round(total, 2) == 47.21


def test_windows_are_disjoint_and_the_tail_is_dropped(tokenizer: Any) -> None:
    ids = tokenizer(PERSUASION, verbose=False)["input_ids"]
    windows = gptq_windows(tokenizer, PERSUASION, 500, None)
    assert [token for window in windows for token in window.ids] == ids[: len(ids) // 500 * 500]
    assert {(len(window.ids), window.first) for window in windows} == {(500, 1)}


def test_a_text_without_a_whole_window_says_how_many_tokens_it_has(tokenizer: Any) -> None:
    count = len(tokenizer("It is a truth.")["input_ids"])
    with pytest.raises(ModelError, match=f"the text has {count} tokens, one window needs 512"):
        gptq_windows(tokenizer, "It is a truth.", 512, None)


def test_a_window_beyond_the_context_is_refused(austen: Any, tokenizer: Any) -> None:
    quality = {"corpus": "builtin:persuasion", "corpus_sha256": "0", "protocol": "gptq", "max_windows": 1}
    with pytest.raises(ModelError, match="513 tokens exceed the model's context of 512"):
        perplexity.measure(bench_of(austen, tokenizer, quality={**quality, "seqlen": 513}))


def test_a_text_that_changed_since_the_plan_is_refused(austen: Any, tokenizer: Any) -> None:
    """Its outputs would be kept and paired under the name of the text that was planned."""
    quality = {"corpus": "novel.txt", "corpus_sha256": "", "protocol": "gptq", "seqlen": 64, "max_windows": 1}
    bench = bench_of(austen, tokenizer, quality=quality)
    bench.documents = lambda _: [PERSUASION + "."]
    with pytest.raises(ModelError, match=r"corpus 'novel\.txt' changed since the run was planned"):
        perplexity.measure(bench)


def test_a_window_needs_a_token_to_score() -> None:
    for ids, first in (([1], 1), ([1, 2], 2), ([1, 2], 0)):
        with pytest.raises(ValueError, match="cannot be scored"):
            Window(ids, first)


SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def after_head_models() -> list[Any]:
    """Every model scales or caps its logits after the head, hard enough to show."""
    torch.manual_seed(0)
    return [
        Gemma2ForCausalLM(Gemma2Config(**SHAPE, final_logit_softcapping=0.02, initializer_range=0.5)),
        CohereForCausalLM(CohereConfig(**SHAPE, logit_scale=3.0)),
        GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=0.25)),
        GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64)),
    ]


@pytest.mark.parametrize("model", after_head_models(), ids=lambda model: type(model).__name__)
def test_what_models_do_after_the_head_is_repeated(model: Any) -> None:
    model.eval()
    windows = random_windows(97, [20, 20], [1, 3])
    scores = score(model, windows, CPU)
    assert scores.head == "sliced"
    assert scores.nll == pytest.approx([plain_nll(model, window) for window in windows], rel=1e-5)


def test_a_quantized_head_is_sliced_too() -> None:
    model = tiny_llama(tie_word_embeddings=False)
    codes = torch.randint(0, 256, (97, 64), dtype=torch.uint8)
    weight = AffineWeight(codes, torch.full((97, 1), 0.01), None, num_bits=8)
    model.set_output_embeddings(QuantizedLinear.from_weight(weight, None, dtype=torch.float32))
    windows = random_windows(97, [20, 20], [1, 3])
    scores = score(model, windows, CPU)
    assert scores.head == "sliced"
    assert scores.nll == pytest.approx([plain_nll(model, window) for window in windows], rel=1e-5)


def test_an_unknown_transform_is_noticed_and_scored_from_full_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "AFTER_HEAD", {})
    model = after_head_models()[1].eval()
    windows = random_windows(97, [20, 20], [1, 3])
    scores = score(model, windows, CPU)
    assert scores.head == "full"
    assert scores.nll == pytest.approx([plain_nll(model, window) for window in windows], rel=1e-5)


def test_no_more_logits_than_a_slice_ever_stand_in_memory(
    austen: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rows.SLICE_BYTES, "cpu", 64 * 4096 * 4)
    seen: list[int] = []
    hook = austen.lm_head.register_forward_hook(lambda _, __, out: seen.append(out.numel() // out.shape[-1]))
    try:
        score(austen, gptq_windows(tokenizer, PERSUASION, 512, 5), CPU)
    finally:
        hook.remove()
    assert max(seen) == 64
    assert sum(count for count in seen if count > head.PROBE_TOKENS) >= 5 * 511 - 64


def test_logits_that_are_not_finite_become_null(tokenizer: Any) -> None:
    model = tiny_llama(vocab_size=4096)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    quality = {"corpus": "x.txt", "corpus_sha256": "0", "protocol": "gptq", "seqlen": 32, "max_windows": 2}
    assert perplexity.measure(bench_of(model, tokenizer, quality=quality))["nll"] == [None, None]


def test_the_sample_has_its_agreed_shape(austen: Any, tokenizer: Any) -> None:
    quality = {"corpus": "builtin:persuasion", "corpus_sha256": "ab", "protocol": "gptq", "max_windows": 2}
    sample = perplexity.measure(bench_of(austen, tokenizer, quality={**quality, "seqlen": 128}))
    assert sample["corpus"] == {
        "name": "builtin:persuasion",
        "sha256": sha256(PERSUASION.encode()).hexdigest(),
    }
    assert (sample["unit"], sample["protocol"], sample["seqlen"]) == ("nat", "gptq", 128)
    assert (sample["windows"], sample["tokens"], len(sample["nll"])) == (2, [127, 127], 2)
    assert sample["head"] == "sliced"
    assert sample["elapsed_s"] > 0

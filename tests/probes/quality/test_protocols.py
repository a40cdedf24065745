"""Each protocol against its reference: lm-eval itself, transformers' documented loop, plain loops."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qbench.errors import ModelError
from qbench.models.corpora import corpus_sha256
from qbench.probes.quality.measure import perplexity
from qbench.probes.quality.measure.protocols import PROTOCOLS, Rule, Window, cut
from qbench.probes.quality.measure.scoring import score
from qbench.probes.quality.metrics import METRICS
from qbench.results.store.record import Record
from tests.probes.conftest import PERSUASION, bench_of

CPU = torch.device("cpu")
TEXT = PERSUASION[:5_000]


class Letters:
    """A tokenizer of one token a letter, which may prepend a BOS, as those of Llama do."""

    def __init__(self, bos: int | None = None, *, prepends: bool = False) -> None:
        self.bos_token_id, self.eos_token_id, self.prepends = bos, 1, prepends

    def __call__(self, text: str, verbose: bool = True, add_special_tokens: bool = True) -> dict[str, Any]:
        first = [self.bos_token_id] if self.prepends and add_special_tokens else []
        return {"input_ids": [*first, *(ord(letter) for letter in text)]}

    def decode(self, ids: list[int]) -> str:
        return "".join(f"<{token}>" for token in ids)


def measured(model: Any, tokenizer: Any, protocol: str, **settings: Any) -> dict[str, float | None]:
    """The quality metrics of a cell with this protocol on TEXT."""
    quality = {"corpus": "x.txt", "corpus_sha256": "0", "max_windows": None, "seqlen": 128, **settings}
    quality |= {"protocol": protocol, "corpus_sha256": corpus_sha256([TEXT])}
    bench = bench_of(model, tokenizer)
    bench = replace(
        bench, cell=replace(bench.cell, sections={"quality": quality}), documents=lambda _: [TEXT]
    )
    record = Record(bench.cell, "s", "r", "ok", samples={"perplexity": perplexity.measure(bench)})
    return {metric.name: metric.value(record) for metric in METRICS}


def test_lm_eval_gives_what_lm_eval_gives(austen: Any, tokenizer: Any) -> None:
    """Word, byte and bits-per-byte perplexity of lm-eval's own rolling log likelihood, to 1e-4."""
    pytest.importorskip("accelerate", reason="lm-eval's HFLM needs accelerate")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    theirs = HFLM(pretrained=austen, tokenizer=tokenizer, max_length=128, device="cpu", batch_size=8)
    request = Instance("loglikelihood_rolling", {}, (TEXT,), 0)
    total = -float(theirs.loglikelihood_rolling([request], disable_tqdm=True)[0])
    words, size = len(re.split(r"\s+", TEXT)), len(TEXT.encode())
    found = measured(austen, tokenizer, "lm-eval")
    assert found["word_perplexity"] == pytest.approx(math.exp(total / words), rel=1e-4)
    assert found["byte_perplexity"] == pytest.approx(math.exp(total / size), rel=1e-4)
    assert found["bits_per_byte"] == pytest.approx(total / size / math.log(2), rel=1e-4)
    assert found["perplexity_tokens"] == len(tokenizer(TEXT)["input_ids"])


@pytest.mark.parametrize(("length", "stride"), [(128, 64), (128, 128), (128, 37), (100, 99)])
def test_strided_gives_what_the_documented_loop_gives(
    austen: Any, tokenizer: Any, length: int, stride: int
) -> None:
    """transformers, "Perplexity of fixed-length models": a mean by window, times its labels less one."""
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    total, count, done = 0.0, 0, 0
    for start in range(0, ids.shape[1], stride):
        end = min(start + length, ids.shape[1])
        window = ids[:, start:end]
        labels = window.clone()
        labels[:, : -(end - done)] = -100
        with torch.no_grad():
            loss = float(austen(window, labels=labels).loss)
        tokens = int((labels != -100).sum()) - 1
        if tokens:
            total, count = total + loss * tokens, count + tokens
        done = end
        if end == ids.shape[1]:
            break
    found = measured(austen, tokenizer, "strided", seqlen=length, stride=stride)
    assert found["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)


def plain_perplexity(model: Any, windows: list[list[int]], first: int) -> float:
    """exp of the mean −log p in float64, of the tokens of each window from `first` on."""
    total, count = 0.0, 0
    for ids in windows:
        with torch.no_grad():
            log_p = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        total -= sum(float(log_p[i - 1, ids[i]]) for i in range(first, len(ids)))
        count += len(ids) - first
    return math.exp(total / count)


def test_gptq_equals_a_plain_loop_in_float64(austen: Any, tokenizer: Any) -> None:
    ids = tokenizer(TEXT)["input_ids"]
    windows = [ids[i : i + 128] for i in range(0, len(ids) - 127, 128)]
    found = measured(austen, tokenizer, "gptq")
    assert found["perplexity"] == pytest.approx(plain_perplexity(austen, windows, 1), rel=1e-6)


def test_llama_cpp_scores_the_second_half_but_for_its_first_token(austen: Any, tokenizer: Any) -> None:
    """perplexity.cpp: logits from position n_ctx/2 on tell the tokens after them, to the window's end."""
    ids = tokenizer(TEXT)["input_ids"]
    windows = [ids[i : i + 128] for i in range(0, len(ids) - 127, 128)]
    found = measured(austen, tokenizer, "llama.cpp")
    assert found["perplexity"] == pytest.approx(plain_perplexity(austen, windows, 65), rel=1e-6)
    assert found["perplexity_tokens"] == len(windows) * (128 - 64 - 1)


def test_llama_cpp_begins_every_window_with_bos_where_the_tokenizer_prepends_one() -> None:
    text = "abcdefghijklmnopqrst"
    plain = cut("llama.cpp", Letters(7), [text], Rule(8, 8)).windows
    assert [window.ids[0] for window in plain] == [ord("a"), ord("i")]
    with_bos = cut("llama.cpp", Letters(7, prepends=True), [text], Rule(8, 8)).windows
    assert [list(window.ids) for window in with_bos] == [
        [7, *map(ord, "abcdefg")],
        [7, *map(ord, "ijklmno")],  # the BOS stands where h was
    ]


def test_lm_eval_begins_each_document_with_bos_or_else_eos() -> None:
    documents = ["abc", "defgh"]
    windows = cut("lm-eval", Letters(7), documents, Rule(4, 4)).windows
    assert [(window.ids, window.first) for window in windows] == [
        ([7, *map(ord, "abc")], 1),
        ([7, *map(ord, "defg")], 1),
        ([*map(ord, "defgh")], 4),
    ]
    assert cut("lm-eval", Letters(None), documents, Rule(4, 4)).windows[0].ids[0] == 1
    begun = cut("lm-eval", Letters(7, prepends=True), ["<7>ab"], Rule(9, 9)).windows[0]
    assert list(begun.ids) == [7, *map(ord, "<7>ab")]  # one that begins with BOS gets no second


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4), seqlen=st.integers(3, 20), data=st.data()
)
def test_lm_eval_and_strided_score_every_token_once(lengths: list[int], seqlen: int, data: Any) -> None:
    """By position in the text: letters are all different, so each is its own position."""
    letters = iter(range(0x4E00, 0x9FFF))
    documents = ["".join(chr(next(letters)) for _ in range(length)) for length in lengths]
    every = [ord(letter) for text in documents for letter in text]
    rule = Rule(seqlen, data.draw(st.integers(2, seqlen - 1)))
    windows = list(PROTOCOLS["lm-eval"](Letters(7), documents, rule))
    assert [token for window in windows for token in window.ids[window.first :]] == every
    assert all(len(window.ids) <= seqlen + 1 for window in windows)
    windows = list(PROTOCOLS["strided"](Letters(7), ["".join(documents)], rule))
    told = [token for window in windows for token in window.ids[window.first :]]
    assert told == sorted(told)
    assert set(every[1:-1]) <= {*told, every[-1]}  # a lone last token counts nothing in the documented loop


def test_words_and_bytes_are_counted_over_whole_texts_only() -> None:
    whole = cut("lm-eval", Letters(7), ["ä b\nc"], Rule(4, 4))
    assert (whole.words, whole.bytes) == (3, 6)
    assert cut("lm-eval", Letters(7), ["ä b\nc"], Rule(2, 2, max_windows=1)).words is None
    assert cut("gptq", Letters(7), ["ä b\nc"], Rule(4, 4)).words is None


@pytest.mark.parametrize("protocol", ["gptq", "llama.cpp"])
def test_a_text_that_fills_no_window_is_an_error(protocol: str) -> None:
    with pytest.raises(ModelError, match=r"the text has 3 tokens, one window needs 8; lower quality\.seqlen"):
        cut(protocol, Letters(), ["abc"], Rule(8, 8))


def test_a_metric_of_another_protocol_says_why_it_is_null(austen: Any, tokenizer: Any) -> None:
    quality = {"corpus": "x.txt", "corpus_sha256": "0", "max_windows": 2, "seqlen": 32}
    for protocol, reason in (("gptq", "only protocol lm-eval scores"), ("lm-eval", "max_windows cuts")):
        bench = bench_of(austen, tokenizer, quality={**quality, "protocol": protocol})
        record = Record(bench.cell, "s", "r", "ok", samples={"perplexity": perplexity.measure(bench)})
        metric = next(metric for metric in METRICS if metric.name == "bits_per_byte")
        assert metric.value(record) is None
        assert metric.reason(record).startswith(reason)


def test_a_window_counts_for_what_it_scores_unless_its_protocol_says_otherwise() -> None:
    assert Window([1, 2, 3], 1).counted == 2
    assert Window([1, 2, 3], 1, weight=1).counted == 1


def test_scores_do_not_depend_on_how_windows_are_batched(austen: Any, tokenizer: Any) -> None:
    windows = cut("lm-eval", tokenizer, [TEXT], Rule(128, 128)).windows
    together = score(austen, windows, CPU).nll
    alone = [score(austen, [window], CPU).nll[0] for window in windows[-3:]]
    assert together[-3:] == pytest.approx(alone, rel=1e-5)

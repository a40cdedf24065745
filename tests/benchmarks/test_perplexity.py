"""Scoring beside lm-eval's `loglikelihood_rolling`: the same model, text, windows and tokens, in one run.

Rounds alternate. lm-eval runs as its users call it (batch size 1, softmax in the model's dtype) and once more
with its softmax in float32, the only setting whose log likelihood is exact enough to compare with: in
bf16 it adds up a window's tokens in bf16.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qbench.models.builtin import builtin_model, builtin_text
from qbench.probes.quality.measure.protocols import Window
from qbench.probes.quality.measure.scoring import score

CPU = torch.device("cpu")


def load(folder: Path, gguf: str | None) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.bfloat16).eval()
    return model, AutoTokenizer.from_pretrained(folder, gguf_file=gguf)


class Race:
    """One text for both sides, cut by lm-eval's own utilities."""

    def __init__(self, model: Any, tokenizer: Any, seqlen: int, windows: int) -> None:
        pytest.importorskip("accelerate", reason="lm-eval's HFLM needs accelerate")
        from lm_eval import utils
        from lm_eval.models.huggingface import HFLM

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        shared = {"pretrained": model, "tokenizer": tokenizer, "max_length": seqlen, "device": "cpu"}
        self.model = model
        self.theirs = HFLM(**shared)
        self.exact = HFLM(**shared, softmax_dtype="float32")
        whole = builtin_text("persuasion").read_text(encoding="utf-8")
        self.text = tokenizer.decode(tokenizer(whole, verbose=False)["input_ids"][: seqlen * windows])
        rolling = utils.get_rolling_token_windows(
            token_list=self.theirs.tok_encode(self.text),
            prefix_token=self.theirs.prefix_token_id,
            max_seq_len=seqlen,
            context_len=1,
        )
        pairs = [utils.make_disjoint_window(pair) for pair in rolling]
        self.windows = [Window([*context, *scored], len(context)) for context, scored in pairs]
        self.tokens = sum(window.scored for window in self.windows)

    def lm_eval_nll(self, evaluator: Any) -> float:
        from lm_eval.api.instance import Instance

        request = Instance("loglikelihood_rolling", {}, (self.text,), 0)
        return -float(evaluator.loglikelihood_rolling([request], disable_tqdm=True)[0])

    def our_nll(self) -> float:
        scores = score(self.model, self.windows, CPU)
        assert scores.head == "sliced"
        return math.fsum(scores.nll)


def seconds(work: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def compare(benchmark: Any, race: Race, rounds: int) -> float:
    """Interleaved rounds; how many times lm-eval's tokens per second, by medians."""
    assert race.our_nll() == pytest.approx(race.lm_eval_nll(race.exact), rel=1e-4)
    times: dict[str, list[float]] = {"ours": [], "lm_eval": [], "lm_eval_float32": []}

    def run_lm_eval() -> None:
        times["lm_eval"].append(seconds(lambda: race.lm_eval_nll(race.theirs)))
        times["lm_eval_float32"].append(seconds(lambda: race.lm_eval_nll(race.exact)))

    def run_ours() -> None:
        times["ours"].append(seconds(race.our_nll))

    benchmark.pedantic(run_ours, setup=run_lm_eval, rounds=rounds)
    median_s = {name: statistics.median(values) for name, values in times.items()}
    ratio = median_s["lm_eval"] / median_s["ours"]
    benchmark.extra_info.update(
        tokens=race.tokens,
        windows=len(race.windows),
        threads=torch.get_num_threads(),
        tokens_per_s={name: race.tokens / value for name, value in median_s.items()},
        ratio_to_lm_eval=ratio,
        ratio_to_lm_eval_float32=median_s["lm_eval_float32"] / median_s["ours"],
    )
    print(f"\n{benchmark.extra_info}")
    return ratio


def test_austen_6m(benchmark: Any) -> None:
    model, tokenizer = load(builtin_model("austen-6m"), None)
    ratio = compare(benchmark, Race(model, tokenizer, 512, 16 if benchmark.enabled else 2), rounds=15)
    if benchmark.enabled:
        assert ratio >= 1.4


@pytest.mark.skipif("QBENCH_SMOLLM2" not in os.environ, reason="QBENCH_SMOLLM2 names no GGUF file")
def test_smollm2_135m(benchmark: Any) -> None:
    path = Path(os.environ["QBENCH_SMOLLM2"])
    model, tokenizer = load(path.parent, path.name)
    # transformers leaves the model marked as quantized, and lm-eval refuses to touch such a one
    for owner, mark in ((model.config, "quantization_config"), (model, "hf_quantizer")):
        if hasattr(owner, mark):
            delattr(owner, mark)
    ratio = compare(benchmark, Race(model, tokenizer, 512, 4 if benchmark.enabled else 1), rounds=5)
    if benchmark.enabled:
        assert ratio >= 1.0

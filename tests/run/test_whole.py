"""Whole cells of other architectures, dtypes and settings, through the real worker."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import qbench
from qbench.models.builtin import DATA
from tests.run.conftest import Run

pytestmark = pytest.mark.slow

PROMISED = {
    *("suite", "run", "cell_id", "status", "reason", "model", "method", "label", "params", "dtype", "device"),
    *("bits_per_weight", "perplexity", "perplexity_protocol", "weight_bytes", "peak_memory_bytes"),
    *("quantize_s", "prefill_s", "decode_s_per_token", "energy_j_per_token"),
}


def test_every_probe_reaches_the_frame(run: Run) -> None:
    latency = {"prompt_lengths": [16], "generated_tokens": 4, "repetitions": 2}
    energy = {"min_window_s": 0.1, "trials": 1}
    outcome = run(
        [{"name": "none"}, {"name": "absmax", "num_bits": 4}], latency=latency, memory={}, energy=energy
    )
    frame = qbench.load(outcome.run.folder)
    assert set(frame.columns) >= PROMISED
    base, quantized = (frame[frame["method"] == method].iloc[0] for method in ("none", "absmax"))
    weights = sum(math.prod(layer["shape"]) for layer in outcome.records[1].layers)
    assert quantized["bits_per_weight"] == pytest.approx(
        sum(layer["bits_per_weight"] * math.prod(layer["shape"]) for layer in outcome.records[1].layers)
        / weights
    )
    assert 4 < quantized["bits_per_weight"] < 4.2
    saved = base["weight_bytes"] - quantized["weight_bytes"]
    assert saved == pytest.approx(weights * (16 - quantized["bits_per_weight"]) / 8, rel=0.01)
    assert base["perplexity"] < quantized["perplexity"]
    for name in ("prefill_s", "decode_s_per_token", "peak_memory_bytes"):
        assert (frame[name] > 0).all()
    if frame["energy_j_per_token"].isna().all():
        assert frame["energy_reason"].notna().all()
    assert isinstance(frame["perplexity"].dtype, pd.Float64Dtype) or frame["perplexity"].dtype == "float64"


def test_gpt2_with_conv1d_runs_from_a_local_folder(run: Run, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=4096, n_positions=128, n_embd=64, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).to(torch.bfloat16).save_pretrained(tmp_path / "gpt2")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DATA / "austen-6m" / name, tmp_path / "gpt2")
    methods = [{"name": "none"}, {"name": "zeropoint", "num_bits": 8}]
    outcome = run(methods, models=[{"source": "./gpt2"}])
    assert [record.status for record in outcome.records] == ["ok", "ok"], outcome.records[-1].error
    layers = outcome.records[1].layers
    assert len(layers) == 2 * 4
    assert {layer["kind"] for layer in layers} == {"Conv1D"}
    base, quantized = (sum(record.samples["perplexity"]["nll"]) for record in outcome.records)
    assert quantized == pytest.approx(base, rel=1e-3)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_other_dtypes_run_and_agree(run: Run, dtype: str) -> None:
    models = [{"source": "builtin:austen-6m", "dtypes": [dtype, "bf16"]}]
    outcome = run([{"name": "none"}, {"name": "absmax", "num_bits": 8}], models=models)
    assert {record.status for record in outcome.records} == {"ok"}
    nll = [sum(record.samples["perplexity"]["nll"]) for record in outcome.records]
    assert max(nll) == pytest.approx(min(nll), rel=5e-3)


def test_mixed_precision_by_pattern(run: Run) -> None:
    layers = {"exclude": ["*.layers.0.*"], "overrides": [{"pattern": "*.down_proj", "num_bits": 8}]}
    outcome = run([{"name": "absmax", "num_bits": 4}], layers=layers)
    found = {layer["name"]: layer["num_bits"] for layer in outcome.records[0].layers}
    assert not [name for name in found if ".layers.0." in name]
    assert {bits for name, bits in found.items() if name.endswith("down_proj")} == {8}
    assert {bits for name, bits in found.items() if not name.endswith("down_proj")} == {4}
    assert "lm_head" not in found


def test_a_group_that_does_not_divide_names_layer_and_way_out(run: Run) -> None:
    outcome = run([{"name": "absmax", "num_bits": 4, "strategy": "group", "group_size": 96}])
    (record,) = outcome.records
    assert record.status == "failed"
    assert "group_size 96 does not divide its 256 input features; use 128 or 64" in (record.reason or "")
    assert "q_proj" in (record.reason or "")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_runs_the_same_suite_and_agrees_with_the_cpu(run: Run) -> None:
    methods = [
        {"name": "none"},
        {"name": "absmax"},
        {"name": "zeropoint", "num_bits": 4, "strategy": "group"},
    ]
    outcome = run(methods, devices=["cpu", "cuda"], latency={"repetitions": 2}, memory={}, energy={})
    assert {record.status for record in outcome.records} == {"ok"}
    frame = qbench.load(outcome.run.folder)
    for _, cells in frame.groupby("label", observed=True):
        assert cells["perplexity"].max() == pytest.approx(cells["perplexity"].min(), rel=5e-3)
    assert (frame.loc[frame["device"] == "cuda:0", "energy_j_per_token"] > 0).all()


def test_a_calibrated_method_runs_on_windows_of_the_calibration_text(run: Run) -> None:
    methods = [{"name": "zeropoint", "num_bits": 2, "strategy": "group"}, {"name": "gptq", "num_bits": 2}]
    outcome = run(
        methods, calibration={"samples": 24, "seqlen": 128}, quality={"seqlen": 256, "max_windows": 8}
    )
    nearest, calibrated = outcome.records
    assert calibrated.status == "ok", calibrated.error
    assert (nearest.model["calibration_tokens"], calibrated.model["calibration_tokens"]) == (0, 24 * 128)
    assert {layer["calibration_tokens"] for layer in calibrated.layers} == {24 * 128}
    assert {layer["notes"]["dead_columns"] for layer in calibrated.layers} == {0}
    nll = [sum(record.samples["perplexity"]["nll"]) for record in outcome.records]
    assert nll[1] < nll[0] - 200, "GPTQ at 2 bits is no better than rounding to nearest"


def test_a_calibration_that_the_text_does_not_hold_says_so(run: Run) -> None:
    outcome = run([{"name": "gptq"}], calibration={"samples": 200_000, "seqlen": 128})
    assert outcome.records[0].status == "failed"
    assert "200000 windows of 128 tokens" in (outcome.records[0].reason or "")

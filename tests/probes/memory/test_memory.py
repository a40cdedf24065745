"""Bytes against closed forms, and peaks against allocations of known size."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from qbench.errors import ModelError
from qbench.measure import process
from qbench.measure.process import Peak, rss_bytes
from qbench.probes.memory.measure import footprint as memory
from qbench.probes.memory.measure.allocations import track
from qbench.probes.memory.measure.footprint import cache_bytes, weight_parts
from qbench.quant.formats.affine import AffineWeight
from qbench.quant.layer.linear import QuantizedLinear
from qbench.quant.model.sizes import bytes_by_part, resident_bytes, tensors_of
from tests.probes.conftest import bench_of, tiny_llama

MIB = 1 << 20


class Pair(Tensor):
    """A wrapper subclass of torch's own protocol: it looks like one float tensor and holds two others."""

    @staticmethod
    def __new__(cls, codes: Tensor, scale: Tensor) -> Pair:
        made: Pair = Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)
        return made

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        self.codes, self.scale = codes, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["codes", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(str(func))


def test_a_storage_counts_once_however_often_it_is_seen() -> None:
    whole = torch.zeros(1000)
    assert resident_bytes([whole, whole[10:20], whole.view(10, 100), nn.Parameter(whole)]) == 4000


def test_a_wrapper_subclass_counts_what_it_holds_not_what_it_looks_like() -> None:
    wrapper = Pair(torch.zeros(64, 64, dtype=torch.int8), torch.zeros(64, dtype=torch.bfloat16))
    assert wrapper.numel() * wrapper.element_size() == 64 * 64 * 4
    assert resident_bytes([wrapper]) == 64 * 64 + 64 * 2


def test_an_mkldnn_tensor_counts() -> None:
    assert resident_bytes([torch.randn(64, 32).to_mkldnn()]) == 64 * 32 * 4


def test_layouts_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(ModelError, match="sparse"):
        resident_bytes([torch.eye(4).to_sparse()])
    with pytest.raises(ModelError, match="meta"):
        resident_bytes([torch.zeros(4, device="meta")])


def test_tensors_in_plain_attributes_and_containers_are_found() -> None:
    module = nn.Linear(8, 8, bias=False)
    module.kept = torch.zeros(100, dtype=torch.uint8)
    module.deeper = {"a": (torch.zeros(10, dtype=torch.uint8), [torch.zeros(1, dtype=torch.uint8)])}
    assert resident_bytes(tensors_of(module)) == 8 * 8 * 4 + 111


@pytest.mark.parametrize("tied", [True, False])
def test_weights_of_a_llama_equal_the_closed_form(tied: bool) -> None:
    model = tiny_llama(tie_word_embeddings=tied)
    per_layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96 + 2 * 64
    parameters = 97 * 64 * (1 if tied else 2) + 2 * per_layer + 64
    rotary = 2 * 8  # inv_freq and its original, head_dim / 2 each
    assert weight_parts(model)["weight_bytes"] == pytest.approx(4 * (parameters + rotary), abs=4 * 8)


def test_parts_of_a_quantized_model_add_up() -> None:
    model = tiny_llama()
    dense = weight_parts(model)["weight_bytes"]
    codes = torch.randint(0, 16, (96, 64), dtype=torch.uint8)
    weight = AffineWeight(codes, torch.ones(96, 4), None, num_bits=4, group_size=16)
    model.model.layers[0].mlp.up_proj = QuantizedLinear.from_weight(weight, None, dtype=torch.float32)
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    parts = weight_parts(model)
    assert parts["quantized_bytes"] >= 96 * 64 // 2
    assert parts["metadata_bytes"] == 96 * 4 * 4
    assert parts["rest_bytes"] == dense - 96 * 64 * 4
    assert parts["weight_bytes"] == parts["quantized_bytes"] + parts["metadata_bytes"] + parts["rest_bytes"]


@pytest.mark.parametrize("batch", [1, 3])
def test_kv_cache_equals_the_closed_form(batch: int) -> None:
    latency = {"prompt_lengths": [20], "batch_sizes": [batch], "generated_tokens": 7, "repetitions": 1}
    sample = memory.measure(bench_of(tiny_llama(), latency=latency))
    layers, kv_heads, head_dim, tokens = 2, 2, 16, 20 + 7 - 1
    assert sample["kv_cache_bytes"] == 2 * layers * kv_heads * head_dim * tokens * 4 * batch


def test_kv_cache_of_gpt2_equals_the_closed_form() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=32, n_layer=3, n_head=4, n_positions=64)).eval()
    out = model(torch.zeros(2, 11, dtype=torch.long), use_cache=True)
    assert cache_bytes(out.past_key_values) == 2 * 3 * 32 * 11 * 4 * 2


def touch(size_bytes: int) -> None:
    torch.ones(size_bytes, dtype=torch.uint8)


def test_peaks_of_phases_are_apart() -> None:
    before = rss_bytes()
    assert before is not None
    with Peak("cpu") as large:
        touch(200 * MIB)
    with Peak("cpu") as small:
        touch(20 * MIB)
    assert large.bytes is not None
    assert small.bytes is not None
    assert large.bytes - before == pytest.approx(200 * MIB, abs=10 * MIB)
    assert small.bytes - before == pytest.approx(20 * MIB, abs=10 * MIB)


def test_the_sample_tells_what_it_could_not_measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "PROC", tmp_path)
    latency = {"prompt_lengths": [8], "batch_sizes": [1], "generated_tokens": 2, "repetitions": 1}
    baseline = {"disk_bytes": 123, "rss_bytes": rss_bytes(), "quantize_peak_bytes": None}
    sample = memory.measure(bench_of(tiny_llama(), latency=latency, baseline=baseline))
    assert sample["disk_bytes"] == 123
    for name in ("peak_memory_bytes", "process_peak_bytes"):
        assert sample[name] is None
        assert "VmHWM" in sample["reasons"][name]
    assert sample["quantize_peak_bytes"] is None
    assert sample["reasons"]["quantize_peak_bytes"] == "nothing was quantized"


def test_peaks_are_given_above_the_worker_before_the_model() -> None:
    latency = {"prompt_lengths": [8], "batch_sizes": [1], "generated_tokens": 2, "repetitions": 1}
    rss = rss_bytes()
    assert rss is not None
    baseline = {"disk_bytes": 1, "rss_bytes": rss - 50 * MIB, "quantize_peak_bytes": rss + 7 * MIB}
    sample = memory.measure(bench_of(tiny_llama(), latency=latency, baseline=baseline))
    assert sample["quantize_peak_bytes"] == 57 * MIB
    assert 40 * MIB < sample["peak_memory_bytes"] < 90 * MIB
    assert sample["process_peak_bytes"] - sample["peak_memory_bytes"] == sample["baseline_bytes"]
    gpu = ("reserved_peak_bytes", "process_gpu_bytes", "device_used_bytes")
    assert sample["reasons"] == dict.fromkeys(gpu, "the cell runs on no GPU")


def test_a_model_with_a_wrapper_subclass_counts_the_inner_tensors() -> None:
    model = tiny_llama()
    dense = weight_parts(model)["weight_bytes"]
    layer = model.model.layers[0].mlp.up_proj
    del layer._parameters["weight"]
    layer.weight = Pair(torch.zeros(96, 64, dtype=torch.int8), torch.zeros(96, dtype=torch.bfloat16))
    assert weight_parts(model)["weight_bytes"] == dense - 96 * 64 * 4 + 96 * 64 + 96 * 2


@pytest.mark.peers
def test_torchao_s_tensors_count_what_they_hold() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model = tiny_llama(hidden_size=128, intermediate_size=256, tie_word_embeddings=False).bfloat16()
    dense = weight_parts(model)["weight_bytes"]
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    elements = sum(module.in_features * module.out_features for module in linear)
    rows = sum(module.out_features for module in linear)
    found = weight_parts(model)
    # One byte for each weight instead of two; for each row a bf16 scale and at most an int64 zero.
    assert dense - elements + 2 * rows <= found["weight_bytes"] <= dense - elements + (2 + 8) * rows
    claimed = sum(module.weight.numel() * module.weight.element_size() for module in linear)
    assert claimed > 1.5 * elements  # what the wrapper pretends


def test_a_storage_that_several_parts_name_counts_once() -> None:
    shared, own = torch.zeros(100, dtype=torch.uint8), torch.zeros(7, dtype=torch.uint8)
    parts = bytes_by_part([("a", [shared]), ("b", [shared[10:20], own]), ("a", [own, shared])])
    assert parts == {"a": 100, "b": 7}


class FakeNvml:
    """As much of pynvml as the probe asks for."""

    class NVMLError(Exception):
        pass

    def __init__(self, processes: list[tuple[int, int | None]] | None) -> None:
        self._processes = processes

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        if self._processes is None:
            raise self.NVMLError("Insufficient Permissions")
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self._processes]


@pytest.mark.parametrize(
    ("processes", "used", "reason"),
    [
        ([(1, 5), (os.getpid(), 700)], 700, None),
        ([(1, 5)], None, "no process of this number"),
        ([(os.getpid(), None)], None, "does not say"),
        (None, None, "Insufficient Permissions"),
    ],
)
def test_what_nvml_says_of_this_process(processes: Any, used: int | None, reason: str | None) -> None:
    found, why = process._process_gpu_bytes("GPU-1", FakeNvml(processes))
    assert found == used
    assert (reason is None) == (why is None)
    assert reason is None or reason in str(why)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_allocator_s_peak_on_a_gpu_is_what_was_allocated() -> None:
    device = torch.device("cuda")
    torch.empty(1, device=device)

    def run() -> None:
        first = torch.empty(8 * MIB, dtype=torch.uint8, device=device)
        del first
        torch.empty(2 * MIB, dtype=torch.uint8, device=device)

    with Peak(device) as peak:
        found = track(run, device)
    assert found is not None
    assert (found.peak, found.kept) == (8 * MIB, 0)
    assert peak.reserved_bytes is not None
    assert peak.bytes is not None
    assert peak.reserved_bytes >= peak.bytes
    values, _ = process.gpu_memory(device)
    assert values["device_used_bytes"] is not None
    assert values["device_used_bytes"] >= peak.reserved_bytes


def test_a_compiled_cell_claims_no_peak_that_eager_mode_had() -> None:
    model = tiny_llama(max_position_embeddings=256)
    found = memory.measure(bench_of(model, memory={}, runtime="compile"))
    assert found["weight_bytes"] == memory.measure(bench_of(model, memory={}))["weight_bytes"]
    for name in ("peak_memory_bytes", "process_peak_bytes", "kv_cache_bytes"):
        assert found[name] is None
        assert "compiled" in found["reasons"][name]

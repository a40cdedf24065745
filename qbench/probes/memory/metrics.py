"""Memory: bytes on disk, resident by part, and at the peak."""

from __future__ import annotations

from qbench.results.columns.column import Display, Gate, Kind
from qbench.results.columns.metric import Metric, VersusBase
from qbench.results.store.lookup import Value, missing_reason, number, probe
from qbench.results.store.record import Record


def _bytes(
    name: str, description: str, *, kind: Kind = "deterministic", gate: Gate | None = None, title: str = "",
    display: Display | None = None, versus: VersusBase | None = None, compared: int = 0,
    once_a_load: bool = False,
) -> Metric:  # fmt: skip
    def value(record: Record) -> Value:
        return number(probe(record, "memory").get(name))

    return Metric(
        name, "B", "lower", kind, "memory", 3, description, value, gate=gate, group="Memory", title=title,
        display=display, versus=versus, compared=compared, once_a_load=once_a_load,
    )  # fmt: skip


def peak_over_loaded(record: Record) -> Value:
    """Resident memory at the peak while running, above the process with the model loaded."""
    found = probe(record, "memory")
    peak, loaded = number(found.get("process_peak_bytes")), number(found.get("loaded_rss_bytes"))
    return peak - loaded if peak is not None and loaded is not None else None


def cache_per_token(record: Record) -> Value:
    """KV cache over the tokens that went in: each sequence's prompt and what it generated but the last."""
    found = probe(record, "memory")
    size, ran = number(found.get("kv_cache_bytes")), found.get("workload")
    if size is None or not ran:
        return None
    tokens: int = ran["batch_size"] * (ran["prompt_length"] + ran["generated_tokens"] - 1)
    return size / tokens


def no_cache_per_token(record: Record) -> str:
    """Reason of the null: the cache's size is missing, or the number of tokens in it."""
    if number(probe(record, "memory").get("kv_cache_bytes")) is None:
        return missing_reason(record, "memory", "kv_cache_bytes")
    return "the record does not tell the tokens that the cache holds"


METRICS = (
    _bytes(
        "weight_bytes", "resident bytes of all weights: codes, metadata and the unquantized rest",
        gate=Gate(1.01), title="Weights", display=Display(40),
        versus=VersusBase(title="Weights × base", description="weight_bytes over that of the base"),
    ),
    _bytes(
        "quantized_bytes",
        "of the weights' bytes, codes of quantized layers, in the layouts that their kernels keep",
        gate=Gate(None),
    ),
    _bytes(
        "metadata_bytes",
        "of the weights' bytes, scales, zeros, permutations, input scales and outliers of quantized layers",
        gate=Gate(None),
    ),
    _bytes("rest_bytes", "of these, embeddings and all that was not quantized"),
    _bytes("embedding_bytes", "of the rest, embeddings and the head where it was not quantized"),
    _bytes("disk_bytes", "bytes of the weights on disk, as they were loaded", gate=Gate(None)),
    _bytes(
        "saved_bytes", "bytes of the model's tensors in a file of its own, packed if quantized",
        gate=Gate(1.01),
    ),
    _bytes(
        "peak_memory_bytes", "peak while running, above the worker without the model", kind="timed",
        gate=Gate(None), title="Peak memory", display=Display(100, markdown=0), compared=3, once_a_load=True,
    ),
    _bytes("reserved_peak_bytes", "on a GPU, peak that torch's allocator had taken from it", kind="timed"),
    _bytes("process_peak_bytes", "peak of the whole worker process while running", kind="timed"),
    Metric(
        "peak_over_loaded_bytes", "B", "lower", "timed", "memory", 3,
        "the same above the process with the model loaded", peak_over_loaded, group="Memory",
    ),
    _bytes("process_gpu_bytes", "on a GPU, what this process holds there after running", kind="timed"),
    _bytes("device_used_bytes", "on a GPU, what all processes hold there after running", kind="timed"),
    _bytes(
        "quantize_peak_bytes", "peak while quantizing, above the worker without the model", kind="timed",
        gate=Gate(None), once_a_load=True,
    ),
    _bytes(
        "activation_bytes", "most that torch allocates in prefill or a step above weights and KV cache",
        gate=Gate(1.05),
    ),
    _bytes("kv_cache_bytes", "key and value cache at the end of the run that measured it", gate=Gate(1.01)),
    Metric(
        "kv_cache_bytes_per_token", "B", "lower", "deterministic", "memory", 3,
        "the cache's bytes over its tokens; a sliding window forgets some, so that it depends on the length",
        cache_per_token, no_cache_per_token, Gate(None), "Memory",
    ),
)  # fmt: skip

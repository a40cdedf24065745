"""Memory: bytes on disk, resident by part, and at the peak."""

from __future__ import annotations

from qbench.results.metric import Kind, Metric
from qbench.results.record import Record
from qbench.results.samples import Value, number, probe


def _bytes(name: str, description: str, kind: Kind = "deterministic") -> Metric:
    def value(record: Record) -> Value:
        return number(probe(record, "memory").get(name))

    return Metric(name, "B", "lower", kind, "memory", 3, description, value)


METRICS = (
    _bytes("weight_bytes", "resident bytes of all weights: codes, metadata and the unquantized rest"),
    _bytes("quantized_bytes", "of these, the codes of quantized layers"),
    _bytes("metadata_bytes", "of these, scales, zeros and codebooks"),
    _bytes("rest_bytes", "of these, embeddings and all that was not quantized"),
    _bytes("disk_bytes", "bytes of the weights on disk"),
    _bytes("peak_memory_bytes", "peak while running, above the worker without the model", kind="timed"),
    _bytes("process_peak_bytes", "peak of the whole worker process while running", kind="timed"),
    _bytes("quantize_peak_bytes", "peak while quantizing, above the same", kind="timed"),
    _bytes("kv_cache_bytes", "key and value cache at the end of the run that measured it"),
)  # fmt: skip

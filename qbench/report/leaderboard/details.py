"""Details of a cell's panel, collected while records are read, and compressed for the page.

    details = Details(origins)
    for record in records:
        details.take(details.entry(record))
    data = details.data()

Cells are packed some dozens at a time, because neighbours are alike and compress together. What comes from a
record is cut to a length that can be read; the record keeps all of it. Beyond `LAYERS_BUDGET` of the page no
more per-layer tables are packed, beyond `BUDGET` nothing more: the panel then says where the record lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from qbench.json_object import JsonObject
from qbench.report.html.page import pack_text
from qbench.report.leaderboard.cell_samples import kept, series
from qbench.report.leaderboard.command import Origin, command, origin_of
from qbench.results.store.record import Record

BUDGET = 16_000_000
"""Bytes of packed details in a page."""
LAYERS_BUDGET = 12_000_000
CHUNK = 400_000
"""Characters of JSON that are packed together; what opening one panel has to unpack."""
LONGEST = 600
LONGEST_TRACEBACK = 20_000
MOST_PAIRS = 200
MOST_LAYERS = 2000

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Entry:
    """Details of one record, as JSON; small enough to come from another process."""

    key: str
    """`run/cell_id`."""
    cell: str
    layers: str | None
    """The per-layer table; None where there are no layers."""


@dataclass
class Details:
    """`origins`: by run, what its manifest says of its suite."""

    origins: Mapping[str, Origin]
    chunks: list[JsonObject] = field(default_factory=list)
    without_layers: int = 0
    left_out: int = 0
    _keys: list[str] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _waiting: int = 0
    _size: int = 0

    @classmethod
    def of(cls, manifests: Mapping[str, Mapping[str, Any]]) -> Self:
        return cls({run: origin_of(manifest) for run, manifest in manifests.items()})

    def entry(self, record: Record) -> Entry:
        """Details of the record for a panel; changes nothing here."""
        layers = json_text(layer_table(record.layers)) if record.layers else None
        return Entry(f"{record.run}/{record.cell.id}", json_text(self._cell(record)), layers)

    def take(self, entry: Entry) -> None:
        """Adds it, as far as the page has room."""
        if self._size > BUDGET:
            self.left_out += 1
            return
        text = entry.cell
        if entry.layers and self._size > LAYERS_BUDGET:
            self.without_layers += 1
        elif entry.layers:
            text = f'{text[:-1]},"layers":{entry.layers}}}'
        self._keys.append(entry.key)
        self._texts.append(text)
        self._waiting += len(text)
        if self._waiting > CHUNK:
            self._flush()

    def data(self) -> JsonObject:
        """For the page's script: chunks, each with the keys (`run/cell_id`) of its cells in order."""
        self._flush()
        return {"chunks": self.chunks, "without_layers": self.without_layers, "left_out": self.left_out}

    def _flush(self) -> None:
        if self._texts:
            packed = pack_text(f"[{','.join(self._texts)}]")
            self.chunks.append({"keys": self._keys, "packed": packed})
            self._size += len(packed)
            self._keys, self._texts, self._waiting = [], [], 0

    def _cell(self, record: Record) -> JsonObject:
        origin = self.origins.get(record.run) or origin_of({"suite": record.suite})
        order = command(record.cell, origin)
        return {
            "command": cut(order.text, 4 * LONGEST), "command_note": order.note,
            "file": f"{cut(record.suite)}/{cut(record.run)}/{record.cell.id}.json",
            "sections": [{"title": title, "pairs": pairs} for title, pairs in _sections(record) if pairs],
            "error": _error(record.error), "series": series(record), "layer_count": len(record.layers),
        }  # fmt: skip


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _sections(record: Record) -> Iterator[tuple[str, Pairs]]:
    cell = record.cell
    yield "Parameters", flat(cell.params)
    own = {
        "model": cell.model.name, "source": cell.model.source, "weights": cell.model.weights,
        "revision": cell.model.revision, "method": cell.method, "label": cell.label, "dtype": cell.dtype,
        "device": cell.device, "runtime": cell.runtime, "seed": cell.seed, "repetition": cell.repetition,
        "threads": cell.threads, "layers": cell.layers, **cell.stored_sections(),
        "allow_fallback": cell.allow_fallback, "timeout_s": cell.timeout_s,
        "memory_limit": cell.memory_limit, "cell id": cell.id,
    }  # fmt: skip
    yield "Cell", flat(own)
    yield "Model as loaded", flat(record.model)
    environment = {name: value for name, value in record.environment.items() if name != "ceilings"}
    yield "Its process", flat(environment)
    seconds = {name: f"{kept(value)} s" for name, value in record.phases.items()}
    yield "Time by phase", flat({**seconds, "started": record.started_at, "ended": record.ended_at})


def layer_table(layers: list[JsonObject]) -> JsonObject:
    """Columns with one value a layer: texts, and numbers as numbers, so that the panel can sort them."""
    shown = layers[:MOST_LAYERS]
    return {
        "left_out": len(layers) - len(shown),
        "name": [cut(layer.get("name"), 200) for layer in shown],
        "shape": [" × ".join(map(str, layer.get("shape") or ())) for layer in shown],
        "requested": [cut(layer.get("requested"), 80) for layer in shown],
        "executed": [_executed(layer.get("executed") or ()) for layer in shown],
        "bits": [kept(layer.get("bits_per_weight")) for layer in shown],
        "bytes": [_bytes(layer.get("bytes")) for layer in shown],
        "error": [kept(layer.get("weight_error")) for layer in shown],
        "fallback": [cut(layer.get("fallback_reason") or "", 300) for layer in shown],
    }


def _executed(runs: Iterable[Mapping[str, Any]]) -> str:
    """`packed_native for 1–32 rows, …`: each kernel with the rows that it had."""
    return ", ".join(
        f"{cut(run.get('kernel'), 80)} for {run.get('min_rows')}–{run.get('max_rows')} rows" for run in runs
    )


def _bytes(parts: Any) -> int | None:
    """Bytes that the layer stores, with the layouts that kernels prepare at run time."""
    if not isinstance(parts, Mapping):
        return None
    values = parts.values()
    return sum(values if set(map(type, values)) == {int} else filter(_is_int, values))


def _is_int(value: Any) -> bool:
    return isinstance(value, int)


def _error(error: Mapping[str, Any] | None) -> dict[str, str] | None:
    if error is None:
        return None
    text = str(error.get("traceback") or "")
    if len(text) > LONGEST_TRACEBACK:  # its end says most
        head, tail = LONGEST_TRACEBACK // 5, 4 * LONGEST_TRACEBACK // 5
        left = len(text) - head - tail
        text = f"{text[:head]}\n… {left} characters left out; the record has them …\n{text[-tail:]}"
    return {
        "type": cut(error.get("type") or ""),
        "message": cut(error.get("message") or "", 4 * LONGEST),
        "traceback": text,
    }


def flat(value: Any, prefix: str = "") -> Pairs:
    """Nested objects as `dotted.key` → text, nulls left out; at most `MOST_PAIRS`, which is said."""
    found: Pairs = []
    _flatten(value, prefix, found)
    more = len(found) - MOST_PAIRS
    return [*found[:MOST_PAIRS], ("…", f"{more} more in the record")] if more > 0 else found


def _flatten(value: Any, prefix: str, found: Pairs) -> None:
    """Onto `found`. The plain values come first: they are nearly all of a large folder."""
    if value is None:
        return
    if isinstance(value, str | int | float):
        found.append((prefix if len(prefix) <= LONGEST else cut(prefix), cut(value)))
    elif isinstance(value, Mapping):
        for key, below in value.items():
            _flatten(below, f"{prefix}.{key}" if prefix else str(key), found)
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        for place, below in enumerate(value):
            _flatten(below, f"{prefix}[{place}]", found)
    else:
        plain = ", ".join(map(str, value[:MOST_PAIRS])) if isinstance(value, list) else str(value)
        found.append((cut(prefix), cut(plain)))


def cut(text: Any, longest: int = LONGEST) -> str:
    """The text, or its beginning and how much was left out."""
    text = str(text)
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text)} characters)"

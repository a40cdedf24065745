"""A frame as a file for other tools: Parquet (units in the schema), CSV or JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from qbench.errors import ResultsError, did_you_mean
from qbench.results.columns.column import Column
from qbench.results.frames.dictionary import TABLES
from qbench.results.store.atomic import write_bytes_atomic


def export(frame: pd.DataFrame, path: str | Path) -> Path:
    """Writes a frame (cells, samples or layers) in the format that the suffix names, atomically; says where.

    ResultsError for an unknown suffix or a folder that is not there.
    """
    target = Path(path)
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise ResultsError(f"cannot export to {target.name!r}; {did_you_mean(target.suffix, _WRITERS)}")
    if not target.parent.is_dir():
        raise ResultsError(f"cannot write {target}: there is no folder {target.parent}")
    write_bytes_atomic(target, writer(frame))
    return target


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """A field's metadata holds `unit` and `description`; the schema's all units as `qbench.units`."""
    import pyarrow
    import pyarrow.parquet

    plain = frame.copy(deep=False)
    plain.attrs = {}
    table = pyarrow.Table.from_pandas(plain, preserve_index=False)
    known = _known(frame)
    fields = [
        field.with_metadata({"unit": known[field.name].unit, "description": known[field.name].description})
        if field.name in known
        else field
        for field in table.schema
    ]
    units = {name: column.unit for name, column in known.items() if column.unit}
    metadata = {**(table.schema.metadata or {}), b"qbench.units": json.dumps(units).encode()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.cast(pyarrow.schema(fields, metadata=metadata)), buffer)
    return buffer.getvalue()


def _known(frame: pd.DataFrame) -> Mapping[str, Column]:
    """The dictionary of the frame's columns; of the cells' where it has columns of several."""
    tables = [known for _, _, known in TABLES.values() if set(frame.columns) <= set(known)]
    return tables[0] if tables else TABLES["cells"][2]


def _csv(frame: pd.DataFrame) -> bytes:
    text: str = _stamped(frame).to_csv(index=False)
    return text.encode()


def _json(frame: pd.DataFrame) -> bytes:
    """A list of rows; every column stands in every row, nulls as null."""
    rows = _stamped(frame).astype("object")
    rows = rows.where(rows.notna(), None)
    return json.dumps(rows.to_dict("records"), allow_nan=False, ensure_ascii=False, indent=1).encode() + b"\n"


def _stamped(frame: pd.DataFrame) -> pd.DataFrame:
    """Times as ISO 8601 text, for formats that have none."""
    stamped = frame.copy(deep=False)
    for name in frame.select_dtypes("datetimetz"):
        stamped[name] = frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return stamped


_WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    ".parquet": parquet_bytes,
    ".csv": _csv,
    ".json": _json,
}

"""One task file of lm-eval: its YAML with what that includes, and the local files that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from qbench.errors import ModelError
from qbench.json_object import JsonObject

READERS = ("json", "csv", "text", "parquet")
"""`dataset_path`s that read local files, named in `dataset_kwargs.data_files`."""


@dataclass(frozen=True)
class TaskFile:
    """One YAML with everything that it includes."""

    config: JsonObject
    files: frozenset[Path]
    data: JsonObject | None
    """`dataset_path` and `dataset_kwargs`, local paths made absolute; None where no local file is read."""


def read_task(path: Path) -> TaskFile:
    """A task's YAML and what it includes; ModelError where it cannot be read."""
    try:
        return _read(path.resolve(), ())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"task file {path}: {error}") from error


def _read(path: Path, above: tuple[Path, ...]) -> TaskFile:
    if path in above:
        raise ModelError(f"task file {path} includes itself")
    text = path.read_text(encoding="utf-8")
    own = yaml.load(text, Loader=_Loader)
    if not isinstance(own, dict):
        raise ModelError(f"task file {path} is not a mapping of keys to values")
    files = {path}
    if "!function" in text:
        files.update(path.parent.glob("*.py"))
    included = own.pop("include", [])
    merged: JsonObject = {}
    data: JsonObject | None = None
    for name in included if isinstance(included, list) else [included]:
        inner = _read((path.parent / name).resolve(), (*above, path))
        merged.update(inner.config)
        files |= inner.files
        data = inner.data or data
    merged.update(own)
    if not own.keys().isdisjoint(("dataset_path", "dataset_kwargs")):
        data = _local_data(merged, path.parent)
    return TaskFile(merged, frozenset(files | set(_data_files(data))), data)


def _local_data(config: JsonObject, folder: Path) -> JsonObject | None:
    """The keys of a dataset of local files, with paths that hold wherever lm-eval runs."""
    source, options = config.get("dataset_path"), dict(config.get("dataset_kwargs") or {})
    if source in READERS and options.get("data_files") and "data_dir" not in options:
        named = options["data_files"]
        options["data_files"] = (
            {split: _absolute(value, folder) for split, value in named.items()}
            if isinstance(named, dict)
            else _absolute(named, folder)
        )
        return {"dataset_path": source, "dataset_kwargs": options}
    if isinstance(source, str) and source.startswith((".", "/", "~")):
        where = (folder / Path(source).expanduser()).resolve()
        if not where.is_dir():
            raise ModelError(f"dataset_path {source!r}: no folder {where}")
        return {"dataset_path": str(where), "dataset_kwargs": options}
    return None


def _absolute(written: str | list[str], folder: Path) -> list[str]:
    """Local paths relative to the YAML that names them; addresses stay as they are."""
    found: list[str] = []
    for name in [written] if isinstance(written, str) else written:
        if "://" in name:
            found.append(name)
            continue
        where = (folder / Path(name).expanduser()).resolve()
        if not where.is_file():
            raise ModelError(f"data_files {name!r}: no file {where}")
        found.append(str(where))
    return found


def _data_files(data: JsonObject | None) -> Iterator[Path]:
    if data is None:
        return
    if data["dataset_path"] not in READERS:
        yield from sorted(path for path in Path(data["dataset_path"]).rglob("*") if path.is_file())
        return
    named = data["dataset_kwargs"]["data_files"]
    for names in named.values() if isinstance(named, dict) else [named]:
        yield from (Path(name) for name in names if "://" not in name)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with lm-eval's `!function` left as the text that it is."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))

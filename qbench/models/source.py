"""From what a suite calls a model to weights that are pinned, on disk, and allowed.

Forms of a source: `builtin:NAME`; a folder with config.json and safetensors; a `.gguf` file; otherwise a hub
id, taken at a revision. Pickled weights and code from the checkpoint are refused unless the suite allows
them: both can run anything. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from qbench.cell import ModelRef
from qbench.errors import ModelError
from qbench.models.builtin import builtin_model, file_sha256

FACTS = "qbench.json"
"""File that a folder of `qbench quantize` holds and no other does: see `qbench.quant.model.checkpoint`."""
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken"]
_TOKENIZERS = ["*.model", "*.txt", "*.tiktoken"]
_PICKLES = ["*.bin", "*.pt", "*.pth", "*.ckpt"]


@dataclass(frozen=True)
class Checkpoint:
    """A model's files on this disk."""

    folder: Path
    gguf: str | None
    """Name of the GGUF file in `folder`, or None for a transformers folder."""
    commit: str | None
    """The hub's commit, where it came from a hub."""

    def weight_files(self, allow_pickle: bool = False) -> list[Path]:
        """The files that hold weights, sorted by name."""
        if self.gguf:
            return [self.folder / self.gguf]
        found = sorted(self.folder.glob("*.safetensors"))
        if not found and allow_pickle:
            found = sorted(path for pattern in _PICKLES for path in self.folder.glob(pattern))
        return found

    @property
    def quantized(self) -> bool:
        """True where `qbench quantize` wrote it: packed codes, which only qbench reads."""
        return self.gguf is None and (self.folder / FACTS).is_file()

    @property
    def disk_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.weight_files(allow_pickle=True))


def locate(
    source: str, revision: str | None, *, allow_pickle: bool = False, code: bool = False
) -> Checkpoint:
    """Finds (for a hub id: downloads) the files of a model; ModelError says what is missing or refused."""
    if source.startswith("builtin:"):
        return _local(builtin_model(source.removeprefix("builtin:")))
    path = Path(source).expanduser()
    if path.exists():
        return _local(path)
    if source.startswith((".", "/", "~")) or source.endswith(".gguf") or source.count("/") != 1:
        raise ModelError(f"model source {source!r}: no such folder or file, and no hub id (owner/name)")
    return _from_hub(source, revision, allow_pickle, code)


def pin(
    source: str,
    name: str | None,
    revision: str | None = None,
    *,
    random_seed: int | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> ModelRef:
    """A reference to exactly these weights: their hash, a hub commit, or the recipe of random ones."""
    checkpoint = locate(source, revision, allow_pickle=allow_pickle, code=trust_remote_code)
    if random_seed is not None and checkpoint.quantized:
        raise ModelError(f"model {source!r} is a quantized checkpoint; random weights need an ordinary model")
    if random_seed is None:
        _refuse(checkpoint, source, trust_remote_code, allow_pickle)
    if random_seed is not None:
        weights = f"random:{random_seed}:{_digest([checkpoint.folder / 'config.json'])[:16]}"
    elif checkpoint.commit:
        weights = f"hub:{source}@{checkpoint.commit}"
    else:
        patterns = ["*.json", *_TOKENIZERS, *(["*.py"] if trust_remote_code else [])]
        beside = {path for pattern in patterns for path in checkpoint.folder.glob(pattern)}
        identity = [*checkpoint.weight_files(allow_pickle), *sorted(beside)]
        weights = "sha256:" + _digest(identity if not checkpoint.gguf else identity[:1])
    short = source.removeprefix("builtin:").rstrip("/").rpartition("/")[2]
    return ModelRef(
        name=name or short,
        source=source,
        weights=weights,
        revision=checkpoint.commit or revision,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )


def _local(path: Path) -> Checkpoint:
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(f"{path.name}: a model file must be a .gguf; for safetensors name the folder")
        return Checkpoint(path.parent, path.name, None)
    if not (path / "config.json").is_file():
        raise ModelError(f"{path}: the folder has no config.json, so transformers cannot read it")
    return Checkpoint(path, None, None)


def _from_hub(source: str, revision: str | None, allow_pickle: bool, code: bool) -> Checkpoint:
    from huggingface_hub import snapshot_download

    patterns = [*_HUB_FILES, *(_PICKLES if allow_pickle else []), *(["*.py"] if code else [])]
    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise ModelError(
            f"model {source!r} (revision {revision or 'main'}) did not come from the hub: "
            f"{type(error).__name__}: {str(error).splitlines()[0]}. Without a network use builtin:austen-6m, "
            "a local folder or a .gguf file"
        ) from error
    return Checkpoint(folder, None, folder.name)


def _refuse(checkpoint: Checkpoint, source: str, trust_remote_code: bool, allow_pickle: bool) -> None:
    if checkpoint.gguf:
        return
    if not checkpoint.weight_files(allow_pickle):
        pickled = any(next(checkpoint.folder.glob(pattern), None) for pattern in _PICKLES)
        raise ModelError(
            f"model {source!r} has pickled weights only, which can run code when loaded; convert them to "
            "safetensors, or say allow_pickle: true in the suite (--allow-pickle)"
            if pickled
            else f"model {source!r}: {checkpoint.folder} holds no *.safetensors"
        )
    config = json.loads((checkpoint.folder / "config.json").read_text())
    if config.get("auto_map") and not trust_remote_code:
        raise ModelError(
            f"model {source!r} brings its own code (auto_map in config.json); read it, then say "
            "trust_remote_code: true in the suite"
        )


def _digest(paths: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}\0{file_sha256(path)}\n".encode())
    return whole.hexdigest()

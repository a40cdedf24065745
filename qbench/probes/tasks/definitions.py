"""lm-eval tasks as files: where a name is defined, what belongs to the definition, and its hash.

lm-eval is not imported here (its own index takes some ten seconds over 14,000 files): its registry is looked
through as text, and a folder of the user's is parsed. What a task's numbers hang on is its YAML with all that
it includes, the Python beside it where it names functions, the members of a group or tag, and local data
files. A dataset on the hub is pinned only by a `revision` in its YAML; the record holds a hash of its
documents.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from qbench.errors import ModelError
from qbench.json_object import JsonObject
from qbench.models.builtin import DATA, file_sha256
from qbench.probes.tasks.task_files import read_task

BUILTIN_FOLDER = "builtin:tasks"
"""A suite's name of the folder of tasks that comes with qbench."""
_NAMED = re.compile(r"^[\"']?(?:task|group)[\"']?:[ \t]*(\S.*)$", re.MULTILINE)


@dataclass
class Definition:
    """One name that lm-eval evaluates: a task, a group or a tag."""

    name: str
    paths: list[Path]
    """The YAML that defines it, or for a tag those of its tasks."""
    files: list[Path] = field(default_factory=list)
    """Every local file that it hangs on, members' included; sorted, each once."""
    tagged: bool = False
    """True where a tag stands for some of its tasks."""
    defined_in: dict[str, Path] = field(default_factory=dict)
    """Every task below the name → its YAML."""
    overlays: dict[str, JsonObject] = field(default_factory=dict)
    """Task → `dataset_path` and `dataset_kwargs` with local paths made absolute, where it reads local
    files."""

    @property
    def sha256(self) -> str:
        """Over names and contents of all files; not over where they lie."""
        whole = hashlib.sha256()
        for name, digest in sorted((path.name, file_sha256(path)) for path in self.files):
            whole.update(f"{name}\0{digest}\n".encode())
        return whole.hexdigest()


class Tasks:
    """The names of a user's folder and of lm-eval's registry; the folder's come first."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise ModelError(f"{folder}: no such folder of tasks")
        self.folder = folder

    @cached_property
    def _ours(self) -> dict[str, list[Path]]:
        return _index(self.folder, strict=True) if self.folder else {}

    @cached_property
    def _registry(self) -> dict[str, list[Path]]:
        """lm-eval's tasks and groups as the text of its files shows them, within a second."""
        found: dict[str, list[Path]] = {}
        for path in _yaml_files(registry_folder()):
            for match in _NAMED.finditer(path.read_text(encoding="utf-8")):
                found.setdefault(match[1].partition(" #")[0].strip(" \t\"'"), []).append(path)
        return found

    @cached_property
    def _whole_registry(self) -> dict[str, list[Path]]:
        """The registry and its tags, which templates may give: every file parsed, some five seconds."""
        return _index(registry_folder(), strict=False)

    def define(self, name: str) -> Definition:
        """The task, group or tag of that name; ModelError with near misses, or for a file that is missing."""
        definition = Definition(name, self._paths(name))
        files: set[Path] = set()
        self._collect(definition, name, files, set())
        definition.files = sorted(files)
        return definition

    def _paths(self, name: str) -> list[Path]:
        if name in self._ours:
            return self._ours[name]
        shown = self._registry.get(name, [])
        found = [path for path in shown if name in _names(read_task(path).config)[:1]]
        found = found or self._whole_registry.get(name, [])
        if not found:
            near = difflib.get_close_matches(name, {*self._ours, *self._whole_registry}, n=3)
            hint = (
                f"did you mean {' or '.join(map(repr, near))}?" if near else "`lm-eval ls tasks` lists them"
            )
            ours = f"{self.folder} has {', '.join(sorted(self._ours)) or 'none'}; " if self.folder else ""
            raise ModelError(f"no task, group or tag {name!r} in lm-eval {lm_eval_version()}; {ours}{hint}")
        return found

    def _collect(self, into: Definition, name: str, files: set[Path], seen: set[str]) -> None:
        """Adds the files of a name and of its members, each once."""
        if name in seen:
            return
        seen.add(name)
        for path in self._paths(name):
            read = read_task(path)
            files.update(read.files)
            own = read.config.get("task")
            into.tagged |= name not in (own, read.config.get("group"))
            if isinstance(own, str):
                into.defined_in[own] = path
                into.overlays |= {own: read.data} if read.data else {}
            for member, inline in _members(read.config):
                if not inline or member in self._ours or member in self._registry:
                    self._collect(into, member, files, seen)


def task_folder(include: str | None) -> Path | None:
    """The folder that a cell names: `builtin:tasks`, or a path."""
    if include is None:
        return None
    return DATA / "tasks" if include == BUILTIN_FOLDER else Path(include)


def registry_folder() -> Path:
    """The folder of lm-eval's own tasks; lm-eval is found, not imported."""
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("lm-eval is not installed, which tasks need; pip install lm-eval")
    return Path(spec.submodule_search_locations[0]) / "tasks"


def lm_eval_version() -> str:
    return version("lm-eval")


def search_folders(definitions: list[Definition], folder: Path | None) -> list[Path]:
    """The folders that lm-eval has to index for these definitions, the user's last.

    Of its registry only parts, for the whole takes it some ten seconds; but the whole where a tag's tasks lie
    in several parts, since a tag stands for the tasks of one folder.
    """
    registry = registry_folder()
    found: set[Path] = set()
    for definition in definitions:
        inside = [path.relative_to(registry) for path in definition.files if path.is_relative_to(registry)]
        parts = {registry / path.parts[0] for path in inside if len(path.parts) > 1}
        found |= {registry} if definition.tagged and len(parts) > 1 else parts
    chosen = [registry] if registry in found else sorted(found)
    return [*chosen, *([folder] if folder else [])]


def _index(folder: Path, *, strict: bool) -> dict[str, list[Path]]:
    """Every name that the folder's files define; a name of several files is a tag.

    A file that cannot be read is a ModelError, or without `strict` passed over, as lm-eval does.
    """
    found: dict[str, list[Path]] = {}
    for path in _yaml_files(folder):
        try:
            names = _names(read_task(path).config)
        except ModelError:
            if strict:
                raise
            continue
        for name in names:
            found.setdefault(name, []).append(path)
    return found


def _names(config: JsonObject) -> list[str]:
    """Names that a file defines: its group, or its task and the tags that the task carries."""
    if isinstance(config.get("group"), str) and "class" not in config:
        return [config["group"]]
    tags = config.get("tag") or []
    own = config.get("task")
    return ([own] if isinstance(own, str) else []) + ([tags] if isinstance(tags, str) else list(tags))


def _members(config: JsonObject) -> Iterator[tuple[str, bool]]:
    """Names in a group's list, those within inline groups included, and whether each may stand there
    whole."""
    listed = config.get("task")
    for one in listed if isinstance(listed, list) else []:
        name = one.get("group") or one.get("task") if isinstance(one, dict) else one
        if isinstance(name, str):
            yield name, isinstance(one, dict)
        if isinstance(one, dict):
            yield from _members(one)


def _yaml_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))

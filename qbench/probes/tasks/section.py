"""The section `tasks` of a suite, and of a cell: there with the hashes of the tasks' files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from qbench.errors import ModelError
from qbench.fields import Count, Name, Place
from qbench.probes.tasks.definitions import BUILTIN_FOLDER, Tasks, lm_eval_version, task_folder
from qbench.section import Finding, Section, SuiteFile, repeated


class TasksSpec(Section):
    """Tasks of lm-eval, evaluated on the quantized model in process."""

    key: ClassVar[str] = "tasks"

    names: list[Name] = Field(min_length=1, description="Tasks, groups or tags of the folder or of lm-eval")
    include: Place | None = Field(
        None,
        description="builtin:tasks, or a folder of task files relative to this file; its names come first",
    )
    limit: Count | None = Field(None, description="Use only so many documents of a task; default: all")
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="Solved examples before each question; default: what the task says"
    )
    batch_size: Count = Field(8, description="Requests in one forward; rounding depends on it")

    def findings(self) -> Iterator[Finding]:
        yield from repeated(self.names, ("names",))

    def resolved(self, suite: SuiteFile) -> TasksSettings:
        written = self.include
        where = written if written in (None, BUILTIN_FOLDER) else str(suite.path(written).resolve())
        key: tuple[str | int, ...] = (self.key, "include")
        try:
            tasks, hashes = Tasks(task_folder(where)), {}
            for index, name in enumerate(self.names):
                key = (self.key, "names", index)
                hashes[name] = tasks.define(name).sha256
        except ModelError as error:
            raise suite.error(key, str(error)) from error
        found = {"include": where, "sha256": hashes, "lm_eval": lm_eval_version()}
        return TasksSettings(**{**dict(self), **found})


class TasksSettings(TasksSpec):
    """The section of a cell."""

    sha256: Mapping[str, str] = {}
    """Name → hash over everything that defines it."""
    lm_eval: str = ""

"""`Section`: the settings of one probe, as a suite writes them and as a cell keeps them.

A suite's section is an instance of a subclass. A cell keeps its JSON values, which its id hashes, and
`LatencySpec.of(cell)` reads them back as the same type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from qbench.cell import PLACES, Cell
from qbench.fields import Spec
from qbench.json_object import JsonObject

Finding = tuple[tuple[str | int, ...], str]
"""Path of a key, and the message with the way out."""


@dataclass(frozen=True)
class Added:
    """Marks a field that came after its section's first version: `Annotated[int, Added(then=0)]`.

    A cell leaves the field out while it has the value `then`, which is how the section behaved before. So
    earlier cells keep their ids, also where the field's default changes later.
    """

    then: object


class SuiteFile(Protocol):
    """The suite's file, as far as a section needs it to be resolved."""

    def path(self, written: str) -> Path:
        """A path of the suite, which is relative to the suite's file."""
        ...

    def error(self, path: tuple[str | int, ...], message: str) -> Exception:
        """An error that points at file and line of a key."""
        ...


class Section(Spec):
    """The settings of one probe: frozen, every key typed and described.

    A field whose name is one of `qbench.cell.PLACES` says where a text lies and is no part of a cell's id;
    what stands in the cell must then have a field that ends in `sha256`, which is.
    """

    key: ClassVar[str]
    """The section's name in a suite and in a cell."""

    @classmethod
    def of(cls, cell: Cell) -> Self | None:
        """The cell's settings, without keys that this version does not know; None where the probe is off."""
        found = cell.sections.get(cls.key)
        if found is None:
            return None
        known = {name: value for name, value in found.items() if name in cls.model_fields}
        return cls.model_validate({**cls._then(), **known})

    @classmethod
    def required(cls, cell: Cell) -> Self:
        """Settings of a cell whose probe is asked to measure; ValueError where it has none."""
        found = cls.of(cell)
        if found is None:
            raise ValueError(f"the cell has no section {cls.key!r}")
        return found

    def values(self) -> JsonObject:
        """JSON values that a cell keeps, without the added fields that have their first value."""
        whole, then = self.model_dump(mode="json"), self._then()
        if (places := PLACES & set(whole)) and not any(name.endswith("sha256") for name in whole):
            raise ValueError(f"{self.key}: {', '.join(sorted(places))} enters no id; add its sha256")
        return {name: value for name, value in whole.items() if name not in then or value != then[name]}

    def findings(self) -> Iterator[Finding]:
        """Findings beyond types, with paths below the section; none by default."""
        return iter(())

    def resolved(self, suite: SuiteFile) -> Section:
        """The section as it stands in a cell: texts and files found and hashed. Imports no torch."""
        return self

    @classmethod
    def _then(cls) -> Mapping[str, Any]:
        return {
            name: mark.then
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Added)
        }


def repeated(
    values: Sequence[object], path: tuple[str | int, ...], key: str | None = None, way_out: str = "keep one"
) -> Iterator[Finding]:
    """A finding for each value of a list that stands there already; `key` is added to its path."""
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        first = seen.setdefault(json.dumps(value, sort_keys=True), index)
        if first != index:
            where = (*path, index, key) if key else (*path, index)
            yield where, f"{json.dumps(value)} stands here twice (also at position {first}); {way_out}"

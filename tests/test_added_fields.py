"""A field that is added to a cell or to a section later changes no existing id."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest

from qbench.cell import Cell, ModelRef, added
from qbench.fields import Corpus, Count
from qbench.probes.latency.section import LatencySpec
from qbench.section import Added, Section


def cell(kind: type[Cell] = Cell, **changes: Any) -> Cell:
    values = {
        "model": ModelRef("m", "m", "sha256:0"), "method": "none", "params": {}, "dtype": "bf16",
        "device": "cpu", "label": "none",
    }  # fmt: skip
    return kind(**{**values, **changes})


@dataclass(frozen=True)
class Later(Cell):
    """A cell of a later version, which can be prefetched; every earlier one was not."""

    prefetch: int = added(0)


@dataclass(frozen=True)
class MuchLater(Cell):
    """The default has changed since."""

    prefetch: int = added(4, then=0)


def test_a_field_added_to_cells_enters_the_id_where_it_differs_from_what_was() -> None:
    old = cell()
    assert cell(Later).id == old.id
    assert cell(Later, prefetch=0).id == old.id
    assert cell(Later, prefetch=1).id != old.id
    assert cell(MuchLater, prefetch=0).id == old.id
    assert cell(MuchLater).id == cell(Later, prefetch=4).id != old.id


def test_an_old_cell_reads_as_it_was_measured() -> None:
    stored = cell().to_dict()
    for kind in (Later, MuchLater):
        read = kind.from_dict(stored)
        assert getattr(read, "prefetch") == 0  # noqa: B009 - either class has it
        assert read.id == cell().id
    assert Later.from_dict(cell(Later, prefetch=2).to_dict()) == cell(Later, prefetch=2)


class First(Section):
    """A section as it was first released."""

    key: ClassVar[str] = "first"
    rounds: Count = 3


class Second(First):
    """With a field more."""

    pause_ms: Annotated[int, Added(then=0)] = 0


class Third(First):
    """With another default than when the field came."""

    pause_ms: Annotated[int, Added(then=0)] = 10


def holding(section: Section) -> Cell:
    return cell(sections={section.key: section.values()})


def test_a_field_added_to_a_section_enters_the_id_where_it_differs_from_what_was() -> None:
    old = holding(First())
    assert holding(Second()) == old
    assert holding(Second()).id == holding(Third(pause_ms=0)).id == old.id
    assert holding(Second(pause_ms=1)).id != old.id
    assert holding(Third()).id == holding(Second(pause_ms=10)).id != old.id
    assert holding(First(rounds=4)).id != old.id


def test_an_old_section_reads_as_it_was_measured() -> None:
    assert Third.of(holding(First())) == Third(pause_ms=0)
    assert Second.of(holding(Second(pause_ms=7))) == Second(pause_ms=7)
    assert First.of(holding(Second(pause_ms=7))) == First(), "a key of a later version is left out"


def test_a_section_enters_the_id_where_it_is_on() -> None:
    assert First.of(cell()) is None
    assert holding(First()).id != cell().id
    latency = cell(sections={"latency": LatencySpec().values()})
    assert dataclasses.replace(latency, sections={**latency.sections, "first": First().values()}).id not in (
        latency.id,
        holding(First()).id,
    )
    with pytest.raises(ValueError, match="the cell has no section 'first'"):
        First.required(cell())


def test_sections_of_other_packages_stand_apart_in_the_json() -> None:
    both = cell(sections={"latency": LatencySpec().values(), "first": First().values()})
    stored = both.to_dict()
    assert stored["latency"]["generated_tokens"] == 32
    assert stored["quality"] is None
    assert stored["sections"] == {"first": {"rounds": 3}}
    assert "sections" not in cell().to_dict()
    assert Cell.from_dict(stored) == both


class Reading(Section):
    """A section that names a text and forgets its hash."""

    key: ClassVar[str] = "reading"
    corpus: Corpus = "builtin:persuasion"


def test_the_place_of_a_text_enters_no_id_so_its_hash_must() -> None:
    with pytest.raises(ValueError, match="reading: corpus enters no id; add its sha256"):
        Reading().values()
    here, there, other = (
        cell(sections={"reading": {"corpus": place, "corpus_sha256": digest}})
        for place, digest in (("a.txt", "1"), ("b.txt", "1"), ("a.txt", "2"))
    )
    assert here.id == there.id != other.id

"""Finding probes: what is refused, and what is told of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

import qbench.probes
from qbench.errors import QbenchError
from qbench.probes import registry
from qbench.probes.latency import PROBE as LATENCY
from qbench.section import Section


class MineSpec(Section):
    """A section of a plugin."""

    key: ClassVar[str] = "mine"


MINE = dataclasses.replace(LATENCY, name="mine", settings=MineSpec, default=None, metrics=(), entry="mine:go")
SAME_NAME = dataclasses.replace(MINE, name="latency")
SAME_SECTION = dataclasses.replace(MINE, settings=LATENCY.settings)
OWN_NAME = dataclasses.replace(MINE, name="phases")
ON_BY_DEFAULT = dataclasses.replace(MINE, default=MineSpec())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes entry points of names of this module, as section → name."""

    def install(**points: str) -> None:
        found = [EntryPoint(key, f"{__name__}:{name}", registry.GROUP) for key, name in points.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else [])
        registry.found.cache_clear()

    yield install
    monkeypatch.undo()
    registry.found.cache_clear()


def test_built_in_probes_are_the_folders(installed: Any) -> None:
    installed()
    folders = {path.parent.name for path in Path(qbench.probes.__file__).parent.glob("*/__init__.py")}
    assert {probe.settings.key for probe in registry.probes().values()} == folders
    quantities = ["perplexity", "memory", "latency", "energy", "tasks"]
    assert [name for name in registry.probes() if name in quantities] == quantities, "in this order they run"


def test_a_plugin_stands_among_them_by_its_order(installed: Any) -> None:
    installed(mine="MINE")
    assert list(registry.probes()) == ["perplexity", "memory", "latency", "mine", "energy", "tasks"]
    assert registry.broken() == {}


@pytest.mark.parametrize(
    ("section", "name", "said"),
    [
        ("mine", "SAME_NAME", r"two probes have the name 'latency': qbench\.probes\.latency.* and mine:go"),
        ("latency", "SAME_SECTION", r"two probes have the section 'latency': qbench\.probes.* and mine:go"),
        ("mine", "OWN_NAME", "two probes have the name 'phases': qbench itself and mine:go"),
    ],
)
def test_two_of_one_name_or_section_are_an_error_that_names_both(
    section: str, name: str, said: str, installed: Any
) -> None:
    installed(**{section: name})
    with pytest.raises(QbenchError, match=said):
        registry.probes()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NOTHING", "does not load: AttributeError"),
        ("MineSpec", "is no qbench.probes.probe.Probe, but a ModelMetaclass"),
        ("ON_BY_DEFAULT", "it has a default, which would change the ids of all cells"),
        ("SAME_SECTION", "its section is 'latency' and its entry point 'mine'; give both one name"),
    ],
)
def test_a_plugin_that_is_no_probe_is_told_of_and_left_out(name: str, said: str, installed: Any) -> None:
    installed(mine=name)
    assert len(registry.probes()) == 5
    assert said in registry.broken()["mine"].reason

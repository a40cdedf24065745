"""Finding methods: names, near misses, plugins, duplicates, and typed parameters."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Literal

import pytest

from qbench import Method, MethodError
from qbench.quant.method import registry


@dataclass(frozen=True)
class Toy(Method):
    """A plugin's method."""

    width: int = 3
    mode: Literal["a", "b"] = "a"
    size: int | None = None

    def __post_init__(self) -> None:
        if self.width > 5:
            raise ValueError("width is too wide")


NOT_A_METHOD = 3


def plug(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Makes entry points of the group `qbench.methods` appear."""
    found = [EntryPoint(name, f"{__name__}:{value}", registry.GROUP) for name, value in points.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else [])


def test_built_ins_are_the_files_of_the_folder() -> None:
    found = registry.available()
    assert found["absmax"] == found["zeropoint"] == found["none"] == "built-in"
    assert list(found) == sorted(found)


def test_an_unknown_method_names_the_near_miss() -> None:
    with pytest.raises(
        MethodError, match=r"no method 'absmaks'; did you mean 'absmax'\? choose from: .*zeropoint"
    ):
        registry.method_class("absmaks")


def test_a_plugin_is_found_and_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, toy="Toy")
    assert registry.available()["toy"].endswith(":Toy")
    assert registry.make("toy", {"width": 4, "mode": "b"}) == Toy(4, "b")
    assert registry.parameters(Toy)["mode"] == registry.Parameter("mode", "Literal['a', 'b']", "a")
    with pytest.raises(MethodError, match=r"'toy', mode = 'c'"):
        registry.make("toy", {"mode": "c"})
    with pytest.raises(MethodError, match="too wide"):
        registry.make("toy", {"width": 6})
    with pytest.raises(MethodError, match=r"no parameter 'widht'; did you mean 'width'"):
        registry.make("toy", {"widht": 2})


def test_two_methods_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, absmax="Toy")
    with pytest.raises(MethodError, match="two methods are called 'absmax'"):
        registry.available()


def test_two_plugins_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("toy", f"{__name__}:{value}", registry.GROUP) for value in ("Toy", "NOT_A_METHOD")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.raises(MethodError, match="two plugins call a method 'toy'"):
        registry.available()


def test_a_plugin_that_is_no_method_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, toy="NOT_A_METHOD")
    with pytest.raises(MethodError, match="no subclass"):
        registry.method_class("toy")

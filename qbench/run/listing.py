"""Rows of `qbench list`, as plain values."""

from __future__ import annotations

import inspect
import re

from qbench.json_object import JsonObject

Rows = list[JsonObject]
"""They are printed as a table or as JSON."""


def rows(what: str) -> Rows:
    """Rows of methods, models, probes, kernels or suites; all of one kind have the same keys."""
    return {"methods": methods, "models": models, "probes": probes, "kernels": kernels, "suites": suites}[
        what
    ]()


def methods() -> Rows:
    from qbench.quant.method import registry

    def row(name: str, source: str) -> JsonObject:
        cls = registry.method_class(name)
        parameters = registry.parameters(cls).values()
        said = "\n".join(f"{one.name} = {one.default} ({_type(one.type)})" for one in parameters)
        what = (inspect.getdoc(cls) or "").partition("\n")[0]
        calibration = cls().needs_calibration
        return {"name": name, "parameters": said, "calibration": calibration, "from": source, "what": what}

    return [row(name, source) for name, source in registry.available().items()]


def models() -> Rows:
    from qbench.models.builtin import MODELS, Embedded, is_here

    def row(name: str, embedded: bool, note: str) -> JsonObject:
        source = "the package" if embedded else f"qbench fetch {name}"
        return {"source": f"builtin:{name}", "here": is_here(name), "from": source, "what": note}

    return [row(name, isinstance(model, Embedded), model.note) for name, model in MODELS.items()]


def probes() -> Rows:
    from qbench.probes.registry import found

    def row(name: str, section: str, unit: str | None, source: str, what: str) -> JsonObject:
        return {"name": name, "section": section, "unit": unit, "from": source, "what": what}

    known = found()
    usable = [
        row(one.name, one.section, one.unit, known.sources[one.name], one.description)
        for one in known.probes.values()
    ]
    broken = known.broken.values()
    return usable + [
        row(one.name, one.name, None, one.source, f"cannot be used: {one.reason}") for one in broken
    ]


def kernels() -> Rows:
    from qbench.quant.kernels import kernel_rows

    return kernel_rows()


def kernel_choices() -> Rows:
    """Rows that kernels claim to be the fastest for, in the order in which they are tried."""
    from qbench.quant.kernels import choice_rows

    return choice_rows()


def suites() -> Rows:
    from qbench.suite.load import load_suite, packaged_suites

    found = [(name, load_suite(name).models) for name in packaged_suites()]
    return [{"name": name, "models": ", ".join(one.name for one in models)} for name, models in found]


def _type(written: str) -> str:
    """`Literal['tensor', 'channel']` as `tensor | channel`."""
    inside = re.sub(r"Literal\[([^]]*)\]", r"\1", written)
    return inside.replace("'", "").replace('"', "").replace(", ", " | ")

"""Rows of `qbench list`, as plain values."""

from __future__ import annotations

import inspect
import re

from qbench.cell import JsonObject

Rows = list[JsonObject]
"""They are printed as a table or as JSON."""


def rows(what: str) -> Rows:
    """Rows of methods, models, probes, kernels or suites; each a dict with the same keys."""
    return {"methods": methods, "models": models, "probes": probes, "kernels": kernels, "suites": suites}[
        what
    ]()


def methods() -> Rows:
    from qbench.quant.method import registry

    found = []
    for name, source in registry.available().items():
        cls = registry.method_class(name)
        parameters = registry.parameters(cls).values()
        found.append(
            {
                "name": name,
                "parameters": "\n".join(
                    f"{one.name} = {one.default} ({_type(one.type)})" for one in parameters
                ),
                "calibration": cls().needs_calibration,
                "from": source,
                "what": (inspect.getdoc(cls) or "").partition("\n")[0],
            }
        )
    return found


def models() -> Rows:
    from qbench.models.builtin import MODELS, Embedded, is_here

    return [
        {
            "source": f"builtin:{name}",
            "here": is_here(name),
            "from": "the package" if isinstance(model, Embedded) else f"qbench fetch {name}",
            "what": model.note,
        }
        for name, model in MODELS.items()
    ]


def probes() -> Rows:
    from qbench.probes.registry import found

    known = found()
    return [
        {
            "name": probe.name,
            "section": probe.section,
            "unit": probe.unit,
            "from": known.sources[probe.name],
            "what": probe.description,
        }
        for probe in known.probes.values()
    ] + [
        {
            "name": one.name,
            "section": one.name,
            "unit": None,
            "from": one.source,
            "what": f"cannot be used: {one.reason}",
        }
        for one in known.broken.values()
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

    found = []
    for name in packaged_suites():
        suite = load_suite(name)
        found.append({"name": name, "models": ", ".join(model.name for model in suite.models)})
    return found


def _type(written: str) -> str:
    """`Literal['tensor', 'channel']` as `tensor | channel`."""
    inside = re.sub(r"Literal\[([^]]*)\]", r"\1", written)
    return inside.replace("'", "").replace('"', "").replace(", ", " | ")

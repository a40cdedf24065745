"""One self-contained HTML file. Opened from disk it asks the network for nothing, and its policy forbids it.

Scripts are inlined and named by their hash in the Content-Security-Policy, so that nothing that comes from a
record can ever run: not as markup (escaped), not as a handler (the policy knows none), not out of the data
block (`<`, `>`, `&` and the two line separators of JavaScript are escaped in it).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import jinja2
import pandas as pd

from qbench import __version__
from qbench.errors import ResultsError, did_you_mean
from qbench.report.context import build_view
from qbench.results.atomic import write_bytes_atomic
from qbench.results.frame import chosen_runs, from_store
from qbench.results.store import Store

Plotlyjs = Literal["inline", "cdn", "directory"]
PLOTLY_FILE = "plotly.min.js"
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def write_report(
    results: str | Path,
    output: str | Path,
    *,
    runs: Literal["newest", "all"] = "newest",
    plotlyjs: Plotlyjs = "inline",
) -> Path:
    """Reads a tree of results and writes the page; returns where.

    Files that cannot be read are named on the page. `plotlyjs`: `inline` puts plotly.js into the page (4.8
    MB), `directory` beside it, `cdn` leaves it to the network. ResultsError where there is no run at all.
    """
    store = Store(Path(results), strict=False)
    frame = from_store(store, runs)
    manifests = {run.name: store.manifest(run) for run in chosen_runs(store, runs)}
    frame.attrs["problems"] = list(store.problems)
    target = Path(output)
    if not target.parent.is_dir():
        raise ResultsError(f"cannot write {target}: there is no folder {target.parent}")
    page = render(frame, manifests, plotlyjs=plotlyjs)
    if plotlyjs == "directory":
        write_bytes_atomic(target.parent / PLOTLY_FILE, _plotly_source().encode())
    write_bytes_atomic(target, page.encode())
    return target


def render(
    frame: pd.DataFrame,
    manifests: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    plotlyjs: Plotlyjs = "inline",
) -> str:
    """The page of this frame (see `qbench.load`); `manifests` maps a run's name to its manifest."""
    if plotlyjs not in get_args(Plotlyjs):
        raise ResultsError(f"plotlyjs = {plotlyjs!r}; {did_you_mean(plotlyjs, get_args(Plotlyjs))}")
    view = build_view(frame, manifests or {})
    drawn = any(group.figures for group in view.groups)
    script = _asset("leaderboard.js")
    library = _plotly_source() if drawn and plotlyjs == "inline" else ""
    address = _plotly_address(plotlyjs) if drawn else ""
    template = _environment().get_template("leaderboard.html.j2")
    return template.render(
        view=view,
        version=__version__,
        style=_asset("style.css"),
        script=script,
        library=library,
        address=address,
        policy=_policy([text for text in (script, library) if text], address),
        data=embedded_json({"figures": [group.figures for group in view.groups]}),
    )


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a `<script>` block whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _policy(scripts: list[str], address: str) -> str:
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    ]
    if address:
        hashes.append(address if address.startswith("https:") else "'self' file:")
    return (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _plotly_source() -> str:
    """plotly.js as the installed plotly brings it, safe to inline."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def _plotly_address(plotlyjs: Plotlyjs) -> str:
    if plotlyjs == "inline":
        return ""
    if plotlyjs == "directory":
        return PLOTLY_FILE
    from plotly.offline import get_plotlyjs_version

    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("qbench.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (files("qbench.report") / "templates" / name).read_text(encoding="utf-8")

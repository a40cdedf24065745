"""One self-contained HTML file: opened from disk it needs no network, and its policy forbids any.

Scripts are inlined and named by their hash in the Content-Security-Policy, so that nothing that comes from a
record can ever run: not as markup (escaped), not as a handler (the policy knows none), not out of a data
block (`<`, `>`, `&` and the two line separators of JavaScript are escaped in it).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import jinja2
from markupsafe import Markup

from qbench import __version__
from qbench.errors import ResultsError, did_you_mean
from qbench.results.store.atomic import write_bytes_atomic

Plotlyjs = Literal["inline", "cdn", "directory"]
PLOTLY_FILE = "plotly.min.js"
_HYPHENED = re.compile(r"(?=.{3,16}$)\S*\w-\w\S*")
_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def render_page(
    template: str,
    context: Mapping[str, Any],
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    drawn: bool = False,
    plotlyjs: Plotlyjs = "inline",
) -> str:
    """The page of a template that extends `base.html.j2`.

    `scripts` are files of `templates/`, run in their order after `page.js`; `styles` follow `style.css`;
    `data` are the blocks of JSON that they read with `qbench.data(name)`. plotly.js is included, or linked,
    only where the page has something `drawn`; `plotlyjs` selects inline, CDN or a file beside the page.
    """
    if plotlyjs not in get_args(Plotlyjs):
        raise ResultsError(f"plotlyjs = {plotlyjs!r}; {did_you_mean(plotlyjs, get_args(Plotlyjs))}")
    address = _plotly_address(plotlyjs) if drawn else ""
    library = [_plotly_source()] if drawn and plotlyjs == "inline" else []
    inlined = [*library, *(_asset(name) for name in ("page.js", *scripts))]
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            version=__version__,
            style="\n".join(_asset(name) for name in ("style.css", *styles)),
            scripts=inlined,
            address=address,
            policy=_policy(inlined, address),
            data={name: embedded_json(value) for name, value in (data or {}).items()},
        )
    )


def write_page(target: Path, page: str, plotlyjs: Plotlyjs = "inline") -> Path:
    """Writes the page, with `plotlyjs="directory"` also plotly.js beside it; each atomically."""
    if not target.parent.is_dir():
        raise ResultsError(f"cannot write {target}: there is no folder {target.parent}")
    if plotlyjs == "directory":
        write_bytes_atomic(target.parent / PLOTLY_FILE, _plotly_source().encode())
    write_bytes_atomic(target, page.encode())
    return target


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a `<script>` block whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():  # str.translate takes a second for ten thousand rows
        text = text.replace(character, escape)
    return text


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
    """plotly.js of the installed plotly, safe to inline."""
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


def unbroken(text: str) -> Markup:
    """The escaped text, with short words such as `4-bit` on one line; copied, it is the same text."""
    span = Markup('<span class="unbroken">{}</span>')
    words = (
        span.format(word) if _HYPHENED.fullmatch(word) else Markup.escape(word) for word in text.split(" ")
    )
    return Markup(" ").join(words)


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("qbench.report.html", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["unbroken"] = unbroken
    return made


def _asset(name: str) -> str:
    return (files("qbench.report.html") / "templates" / name).read_text(encoding="utf-8")


def pack(value: Any) -> str:
    """JSON, gzip and base64 of the value, which `qbench.unpack` in page.js reads when it is needed.

    Equal values give equal texts. ValueError for NaN and infinity.
    """
    return pack_text(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")))


def pack_text(text: str) -> str:
    """The payload of text that is JSON already."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 6, mtime=0)).decode()

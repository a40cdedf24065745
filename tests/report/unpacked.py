"""The value of a payload made by `qbench.report.html.page.pack`."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def unpack(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))

"""Plain data as text that a page unpacks when it is needed: JSON, gzip, base64 (see `qbench.unpack`)."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

LEVEL = 6


def pack(value: Any, level: int = LEVEL) -> str:
    """Text of `A-Za-z0-9+/=`. Equal values give equal texts. ValueError for a number that is not finite."""
    return pack_text(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")), level)


def pack_text(text: str, level: int = LEVEL) -> str:
    """The same of text that is JSON already."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), level, mtime=0)).decode()


def unpack(text: str) -> Any:
    """What `pack` was given."""
    return json.loads(gzip.decompress(base64.b64decode(text)))

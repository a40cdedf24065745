"""Compressed payloads of a page: JSON, gzip, base64; unpacked when needed (`qbench.unpack` in page.js)."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

LEVEL = 6


def pack(value: Any, level: int = LEVEL) -> str:
    """The value as text of `A-Za-z0-9+/=`; equal values give equal texts. ValueError for NaN and infinity."""
    return pack_text(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")), level)


def pack_text(text: str, level: int = LEVEL) -> str:
    """The payload of text that is JSON already."""
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), level, mtime=0)).decode()


def unpack(text: str) -> Any:
    """The value of a payload made by `pack`."""
    return json.loads(gzip.decompress(base64.b64decode(text)))

"""`JsonObject`: an object of JSON at the edge: of records, manifests and messages, and the data of pages."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]

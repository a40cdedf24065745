"""The section `memory` of a suite."""

from __future__ import annotations

from typing import ClassVar

from qbench.section import Section


class MemorySpec(Section):
    """Bytes on disk, resident and at the peak; has no settings yet."""

    key: ClassVar[str] = "memory"

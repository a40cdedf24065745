"""A checkpoint that `qbench quantize` wrote, run without quantizing anything again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qbench import Method


@dataclass(frozen=True)
class Saved(Method):
    """A checkpoint that `qbench quantize` wrote, as it stands; no other method runs on one."""

    quantizes: ClassVar[bool] = False
    reads_checkpoint: ClassVar[bool] = True

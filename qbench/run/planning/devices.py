"""From a device as a suite writes it (`cpu`, `cuda`, `cuda:1`, `H100`) to one that this machine has."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Self

from qbench.run.provenance.environment import Gpu, gpus


@dataclass(frozen=True)
class Devices:
    """The GPUs that CUDA would see, asked once, and the reason where there are none."""

    gpus: list[Gpu]
    reason: str | None

    @classmethod
    def here(cls) -> Self:
        return cls(*gpus())

    def find(self, written: str) -> tuple[str, str | None]:
        """(device, None), or (as written, why it is not here)."""
        if written == "cpu":
            return "cpu", None
        if not self.gpus:
            return written, f"no device {written!r}: {self.reason}"
        if written == "cuda":
            return "cuda:0", None
        if re.fullmatch(r"cuda:\d+", written):
            found = [gpu for gpu in self.gpus if gpu.device == written]
        else:
            found = [gpu for gpu in self.gpus if fnmatch.fnmatch(gpu.name.lower(), f"*{written.lower()}*")]
        if found:
            return found[0].device, None
        here = ", ".join(f"{gpu.device} {gpu.name}" for gpu in self.gpus)
        return written, f"no device {written!r} among {here}"

"""Reusable work buffers for kernels, so that a forward pass allocates nothing large but its result.

A fresh buffer of a few MB is given back to the operating system after each call and faulted in again, page
by page, on the next: at 128 rows that alone cost the int8 kernel half of its lead.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

WEIGHT_TILE_BYTES = 8 * 2**20
"""Bytes of dequantized weight at a time: they stay in the outer cache, and no layer needs more."""


class Scratch(threading.local):
    """Buffers by (purpose, dtype, device), one set a thread, each as large as its largest use so far.

    What `take` returns is overwritten by the next `take` for the same purpose.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, purpose: str, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """An uninitialised contiguous tensor of this shape."""
        size = shape[0] * shape[1]
        buffer = self._buffers.get((purpose, dtype, device))
        if buffer is None or buffer.numel() < size:
            # Outside inference mode: a buffer born inside could not be written to outside.
            with torch.inference_mode(False):
                buffer = torch.empty(size, dtype=dtype, device=device)
            self._buffers[purpose, dtype, device] = buffer
        return buffer[:size].view(shape)


SCRATCH = Scratch()


def tile_rows(rows: int, row_bytes: int) -> int:
    """Rows of a weight that fit into one tile, at least one, and a multiple of 16 where it can be."""
    fits = max(1, WEIGHT_TILE_BYTES // max(1, row_bytes))
    return min(rows, fits // 16 * 16 if fits >= 16 else fits)

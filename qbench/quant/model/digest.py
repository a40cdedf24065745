"""A hash of everything that a quantized layer stores: equal codes and scales, equal hash, on any device."""

from __future__ import annotations

import hashlib

import torch

from qbench.quant.layer.linear import QuantizedLinear


def codes_sha256(layer: QuantizedLinear) -> str:
    """SHA-256 over name, dtype, shape and bytes of codes, scales, zeros and the rest, the bias left out.

    The codes are taken as they are stored, whichever kernel's layout they stand in; one layer at a time is
    copied to the CPU.
    """
    found = hashlib.sha256()
    for key, value in sorted(layer.state_dict().items()):
        if key != "bias":
            found.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()

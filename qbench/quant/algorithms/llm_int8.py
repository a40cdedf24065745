"""LLM.int8() (Dettmers et al., arXiv 2208.07339, section 3): int8 × int8 but for the columns of outliers."""

from __future__ import annotations

import torch
from torch import Tensor

from qbench.quant.calibration.static_scales import inputs_of
from qbench.quant.formats.affine import AffineWeight, absmax_scale, codes, grouped, stored_scale
from qbench.quant.formats.outliers import Outliers
from qbench.quant.method.base import Layer


def quantize(weight: Tensor, layer: Layer, threshold: float, calibrated: bool) -> AffineWeight:
    """Symmetric int8 codes with a float32 scale a row, and activations with a scale a token.

    `calibrated`: input features that reached the threshold on the calibration text are kept as they are in
    the weight's dtype; they are left out of their rows' amax, and their codes stand for zero. Without it
    nothing is kept, and what the layer finds at run time it takes from the int8 codes (bitsandbytes).
    """
    kept = Outliers(threshold)
    rest = weight
    if calibrated:
        columns = outlier_columns(layer, threshold).to(weight.device)
        if columns.numel():
            kept = Outliers(threshold, columns.to(torch.int32), weight.index_select(1, columns))
            rest = weight.index_fill(1, columns, 0.0)
    groups = grouped(rest, "channel", None, layer.name)
    scale = stored_scale(absmax_scale(groups, 8, "restricted"), torch.float32)
    return AffineWeight(
        codes=codes(groups, scale, 128.0, 1, 255).reshape(weight.shape),
        scale=scale,
        zero=None,
        num_bits=8,
        activations="dynamic",
        outliers=kept,
    )


def outlier_columns(layer: Layer, threshold: float) -> Tensor:
    """Input features whose magnitude reached the threshold on the calibration text, int64, ascending."""
    peaks = inputs_of(layer, "the outlier weights").columns()
    return (peaks >= threshold).nonzero().view(-1)

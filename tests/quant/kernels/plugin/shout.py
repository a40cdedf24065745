"""A kernel as a third party would write one: int8 with a scale a row, float32 activations, up to six rows."""

import torch

from qbench.quant import Choice, Kernel


def prepare(layer):
    return (layer.codes.to(torch.float32) * layer.scale.to(torch.float32),)


def run(layer, prepared, x):
    out = x @ prepared[0].t()
    return out if layer.bias is None else out + layer.bias


KERNEL = Kernel(
    name="shout",
    summary="int8 as a float32 copy of the weight, for a few rows",
    devices=("cpu",),
    activations=("none",),
    num_bits=(8,),
    strategies=("tensor", "channel"),
    zeros=("none",),
    dtypes=("fp32",),
    prepare=prepare,
    run=run,
    choices=(Choice(5, "a test claims rows 3 to 6", min_rows=3, max_rows=6),),
)

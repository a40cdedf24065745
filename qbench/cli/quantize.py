"""`qbench quantize`: a quantized model as a folder."""

from __future__ import annotations

import json as json_
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from qbench.cli.options import JsonOption
from qbench.json_object import JsonObject


def quantize(
    model: Annotated[str, typer.Argument(help="builtin:NAME, a folder, a .gguf file, or a hub id.")],
    method: Annotated[str, typer.Argument(help="Name of a method: see qbench list methods.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to make.")],
    param: Annotated[
        list[str], typer.Option("--param", metavar="KEY=VALUE", help="A parameter of the method. Repeatable.")
    ] = [],  # noqa: B006
    dtype: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option(help="Of unquantized weights and activations.")
    ] = "bf16",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or a GPU name such as H100.")] = "cpu",
    include: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Quantize only such layers. Repeatable.")
    ] = [],  # noqa: B006
    exclude: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Leave such layers alone. Repeatable.")
    ] = [],  # noqa: B006
    override: Annotated[
        list[str],
        typer.Option(
            metavar="PATTERN:KEY=VALUE,…",
            help="Other parameters, or method=NAME, for such layers; the last match wins. Repeatable.",
        ),
    ] = [],  # noqa: B006
    calibration: Annotated[
        str | None,
        typer.Option(metavar="CORPUS", help="builtin:NAME or a text file, for methods that read one."),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Calibration windows.")] = None,
    seqlen: Annotated[int | None, typer.Option(min=1, help="Tokens in one.")] = None,
    calibration_seed: Annotated[int | None, typer.Option(min=0, help="Which windows are drawn.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice of the method.")] = 0,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights, which can run any code.")
    ] = False,
    memory_limit: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most memory that the work may take: 8GiB, 500MB.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Quantize a model and save it: packed weights, tokenizer, a model card, and a suite that measures it.

    The folder appears when it is whole. `qbench.load_quantized(DIR)` loads it; in a suite it is a model,
    whose method is `saved`.
    """
    from qbench.cli.arguments import calibration_spec, layers_spec, pairs, size
    from qbench.run.quantize import Order
    from qbench.run.quantize import quantize as carry_out

    order = Order(
        source=model,
        method=method,
        params=pairs(param, "--param"),
        dtype=dtype,
        device=device,
        layers=layers_spec(include, exclude, override),
        calibration=calibration_spec(
            {"corpus": calibration, "samples": samples, "seqlen": seqlen, "seed": calibration_seed}
        ),
        seed=seed,
        revision=revision,
        allow_pickle=allow_pickle,
        memory_limit=size(memory_limit),
    )
    made = carry_out(order, output, lambda phase: None if json else typer.echo(f"{phase} …", err=True))
    typer.echo(json_.dumps(made, indent=2) if json else "\n".join(_lines(made)))


def _lines(made: JsonObject) -> list[str]:
    origin, mebibyte = made["origin"], 2**20
    left, bits = origin["left_unquantized"], origin["bits_per_weight"]
    reasons = Counter(left.values())
    first = {reason: name for name, reason in reversed(left.items())}
    return [
        f"{origin['label']}: {origin['layers_quantized']} layers quantized, {len(left)} left",
        *(
            f"  left: {first[reason]}{f' and {count - 1} more' if count > 1 else ''}: {reason}"
            for reason, count in reasons.items()
        ),
        f"bits per weight: {bits['quantized']:.4g} in quantized layers, {bits['all']:.4g} over the model",
        f"weights: {made['weight_bytes_before'] / mebibyte:.2f} MiB before, "
        f"{made['weight_bytes'] / mebibyte:.2f} MiB after; {made['folder_bytes'] / mebibyte:.2f} MiB on disk",
        f"quantizing took {made['quantize_s']:.2f} s",
        f"saved: {made['folder']}",
        f"next: {made['next']}",
    ]

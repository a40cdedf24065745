"""`qbench bench-kernels`: layers by themselves, beside F.linear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qbench.json_object import JsonObject

ROWS = [1, 16, 256]
METHODS = ["absmax:num_bits=8", "int4:group_size=64"]


def bench_kernels(
    model: Annotated[
        str | None, typer.Option("--model", metavar="SOURCE", help="Take the layer shapes of this model.")
    ] = None,
    shape: Annotated[
        list[str], typer.Option("--shape", metavar="NxK", help="Outputs × inputs of a layer. Repeatable.")
    ] = [],  # noqa: B006 - typer reads the default and never changes it
    rows: Annotated[list[int], typer.Option("--rows", min=1, help="Rows of the input. Repeatable.")] = ROWS,
    method: Annotated[
        list[str],
        typer.Option(
            "--method", metavar="NAME:KEY=VALUE,…", help="Method and its parameters, e.g. int4:group_size=64."
        ),
    ] = METHODS,
    kernel: Annotated[
        list[str], typer.Option("--kernel", help="auto, a kernel's name, or all that can run. Repeatable.")
    ] = ["auto"],  # noqa: B006
    dtype: Annotated[
        str, typer.Option("--dtype", help="fp32, bf16 or fp16: of F.linear and the input.")
    ] = "bf16",
    device: Annotated[str, typer.Option("--device", help="cpu or cuda:N.")] = "cpu",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; one a core.")] = None,
    turns: Annotated[int, typer.Option("--turns", min=1, help="Samples of each.")] = 31,
    seed: Annotated[int, typer.Option("--seed", help="Draws weights, inputs and the order of turns.")] = 0,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every sample and the table as JSON.")
    ] = None,
) -> None:
    """Time quantized layers beside F.linear, interleaved, on weights that no cache holds."""
    from qbench.cli.arguments import kernel_method, kernel_shape
    from qbench.cli.console import console
    from qbench.measure.kernel_bench import Order, bench, model_shapes, ready
    from qbench.results.frames.kernel_table import kernel_rows
    from qbench.results.store.atomic import write_json_atomic

    shapes = [kernel_shape(text) for text in shape]
    order = Order(
        shapes=[*shapes, *(model_shapes(model) if model else [])], rows=rows,
        methods={text: kernel_method(text) for text in method}, kernels=kernel, dtype=dtype, device=device,
        turns=turns, seed=seed,
    )  # fmt: skip
    ready(order, threads)
    found = bench(order, lambda line: typer.echo(line, err=True))
    table = kernel_rows(found)
    console().print(_drawn(table, found))
    for missing in found["skipped"]:
        typer.echo(f"{missing['method']} on {missing['kernel']}: {missing['reason']}", err=True)
    if json:
        write_json_atomic(json, {**found, "table": table})


def _drawn(rows: list[JsonObject], found: JsonObject) -> Any:
    from qbench.cli.console import table

    made = table(
        "layer", "rows", "method", "kernel", "ms (95 %)", "× F.linear (95 %)", "of read", "of product",
        title=f"{found['device']} {found['dtype']}, {found['turns']} turns",
    )  # fmt: skip
    for row in rows:
        made.add_row(
            row["shape"], str(row["rows"]), row["method"],
            row["kernel"] + (" (cached)" if row["cached"] else ""),
            _with_ends(row["median_s"], row["low_s"], row["high_s"], 1e3, 4),
            _with_ends(row["speedup"], row["speedup_low"], row["speedup_high"], 1, 2),
            _percent(row["bandwidth_share"]), _percent(row["flops_share"]),
        )  # fmt: skip
    return made


def _with_ends(value: float, low: float | None, high: float | None, factor: float, digits: int) -> str:
    ends = (
        f" ({low * factor:.{digits}f}–{high * factor:.{digits}f})"
        if low is not None and high is not None
        else ""
    )
    return f"{value * factor:.{digits}f}{ends}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"

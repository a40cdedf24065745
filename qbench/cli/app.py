"""The `qbench` program and its verbs, in the order of first use."""

from __future__ import annotations

from typing import Annotated

import typer

from qbench.cli import (
    baseline,
    bench_kernels,
    compare,
    export,
    gate,
    history,
    listing,
    plan,
    quantize,
    report,
    run,
    show,
    tools,
)

app = typer.Typer(
    name="qbench",
    help="Quality, latency, memory and energy of really quantized language models, in one row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        import qbench

        typer.echo(f"qbench {qbench.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Quality, latency, memory and energy of really quantized language models, in one row."""


for command in (
    run.run,
    plan.plan,
    listing.list_,
    tools.check,
    quantize.quantize,
    show.show,
    report.report,
    compare.compare,
    gate.gate,
    history.history,
    export.export,
    tools.doctor,
    bench_kernels.bench_kernels,
    tools.fetch,
    tools.schema,
):
    app.command(command.__name__.rstrip("_").replace("_", "-"))(command)
app.add_typer(baseline.baseline)

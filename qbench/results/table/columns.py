"""The dictionary of the frame's columns: name → unit, description, dtype. The one place that names them."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.results.table.metrics import METRICS


@dataclass(frozen=True)
class Column:
    """A column of the frame; `unit` is empty for text, counts and ratios."""

    name: str
    unit: str
    description: str
    dtype: str


def columns() -> dict[str, Column]:
    """Every column of `qbench.load()`, in its order."""
    metrics = [
        Column(metric.name, metric.unit, metric.description, metric.dtype)
        for metric in METRICS.values()
        if metric.name not in _AFTER_BITS_NAMES
    ]
    before = [column for column in metrics if column.name == "bits_per_weight"]
    after = [column for column in metrics if column.name != "bits_per_weight"]
    ordered = [*_IDENTITY, *before, *_QUALITY, *after, *_TASKS, *_RELATIVE, *_CLOSING]
    return {column.name: column for column in ordered}


def _text(name: str, description: str) -> Column:
    return Column(name, "", description, "string")


def _category(name: str, description: str) -> Column:
    return Column(name, "", description, "category")


def _number(name: str, description: str) -> Column:
    return Column(name, "", description, "float64")


_IDENTITY = (
    _category("suite", "name of the suite"),
    _category("run", "name of the run; sorts by time"),
    _text("cell_id", "hash of everything that can change a number"),
    _category("status", "ok, failed, oom, timeout or skipped"),
    _text("reason", "why, for every status but ok"),
    _category("model", "the suite's name for the model"),
    _category("method", "name of the quantization method"),
    _text("label", "the suite's name for method and parameters"),
    _text("params", "every parameter of the method, as JSON"),
    _category("dtype", "of unquantized weights and activations"),
    _category("device", "cpu or cuda:N"),
    _category("runtime", "what ran the timed work: eager, or compile; quality is eager's"),
    Column("repetition", "", "which repetition of the same cell", "Int64"),
    _category("perplexity_protocol", "protocol, window length, corpus and stride of the quality columns"),
)
_QUALITY = (
    Column("perplexity", "", METRICS["perplexity"].description, "float64"),
    _number("perplexity_low", "lower end of the 95 % interval, bootstrap over windows; null for one window"),
    _number("perplexity_high", "upper end of the same"),
    _number("perplexity_ratio", "perplexity over that of the base, paired over the same windows"),
    _number("perplexity_ratio_low", "lower end of its 95 % interval"),
    _number("perplexity_ratio_high", "upper end of the same"),
    Column("nll_per_token", "nat", METRICS["nll_per_token"].description, "float64"),
    Column("kl_divergence", "nat", METRICS["kl_divergence"].description, "float64"),
    Column("kl_divergence_low", "nat", "lower end of its 95 % interval, bootstrap over windows", "float64"),
    Column("kl_divergence_high", "nat", "upper end of the same", "float64"),
    Column("top1_agreement", "", METRICS["top1_agreement"].description, "float64"),
    _number("top1_agreement_low", "lower end of its 95 % interval, bootstrap over windows"),
    _number("top1_agreement_high", "upper end of the same"),
)
_AFTER_BITS_NAMES = {column.name for column in _QUALITY}
_TASKS = (
    _number("task_accuracy_stderr", "standard error of task_accuracy, over documents"),
    _text(
        "tasks",
        "every task's metrics as JSON; qbench.load_tasks gives them as rows",
    ),
)
_SPEEDUP = (
    "above one is faster; median over the laps that both took part in, or without such laps the quotient of "
    "the two medians"
)
_LAPS = "95 % interval, from order statistics of the ratios by lap; null for fewer than six shared laps"
_RELATIVE = (
    _number("weight_bytes_ratio", "weight_bytes over that of the base"),
    _number("prefill_speedup", f"prefill_s of the base over this cell's; {_SPEEDUP}"),
    _number("prefill_speedup_low", f"lower end of its {_LAPS}"),
    _number("prefill_speedup_high", "upper end of the same"),
    _number("decode_speedup", f"decode_s_per_token of the base over this cell's; {_SPEEDUP}"),
    _number("decode_speedup_low", f"lower end of its {_LAPS}"),
    _number("decode_speedup_high", "upper end of the same"),
    _text(
        "base_cell_id",
        "the base: the ok `none` cell of the same run, model (of method saved: the one it was made from), "
        "dtype, device and runtime",
    ),
)
_CLOSING = (
    _text("energy_reason", "why the energy columns are null"),
    _text("energy_source", "nvml_counter, nvml_integrated (no counter: instant power integrated) or rapl"),
    _text("energy_scope", "what the source covers: gpu, module (GPU and CPU of a GH200) or package"),
    _text("energy_throttle", "why the GPU held its clocks down during the windows, or none"),
    _text("kernels", "distinct kernels that ran, comma separated"),
    _category("missing", "why columns of an ok cell are null, as JSON: column → reason"),
    Column("started_at", "", "start of the cell, UTC", "datetime64[us, UTC]"),
    Column("ended_at", "", "end of the cell, UTC", "datetime64[us, UTC]"),
)

"""Two texts of a quantized checkpoint: its model card, and a suite that measures it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import yaml

from qbench.cell import ModelRef
from qbench.json_object import JsonObject

SUITE = "suite.yaml"

_BODY = """\
# {name}

{base}, quantized by qbench with `{label}`: {bits:.4g} bits per weight in the
{count} quantized layers, scales and zero points included; {all_bits:.4g} over every weight of the model.

## Loading

Only qbench reads this folder:

```python
import qbench
from transformers import AutoTokenizer

folder = "{name}"
model = qbench.load_quantized(folder, device="cpu")
tokenizer = AutoTokenizer.from_pretrained(folder)
ids = tokenizer("It is a truth", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=16)[0]))
```

transformers alone would load it wrongly: packed codes are no weights that it knows, and it would start from
random ones. They are called `qbench.safetensors` so that it finds none and stops instead.

`qbench run {name}/{suite}` measures it beside the model that it was made from.

## How it was made

| | |
|---|---|
{rows}
"""
_ROWS = {
    "source": "made from", "weights": "its weights", "revision": "revision", "note": "note", "dtype": "dtype",
    "method": "method", "params": "parameters", "layers": "layers", "layers_quantized": "layers quantized",
    "left_unquantized": "layers left", "calibration": "calibration", "seed": "seed", "qbench": "qbench",
    "date": "date",
}  # fmt: skip


def model_card(folder: str, origin: JsonObject) -> str:
    """The checkpoint's model card: a YAML header that model hubs read, and Markdown.

    `base_model` stands in the header only where the base is a hub's: hubs refuse any other name there.
    """
    from huggingface_hub import ModelCard, ModelCardData

    hub, _, name = str(origin.get("weights", "")).partition(":")
    base = name.partition("@")[0] if hub == "hub" else None
    header = ModelCardData(
        base_model=base,
        base_model_relation="quantized" if base else None,
        library_name="qbench",
        pipeline_tag="text-generation",
        tags=["qbench", "quantized", origin["method"]],
    )
    return str(ModelCard(f"---\n{header.to_yaml()}\n---\n\n{_body(folder, origin)}"))


def _body(folder: str, origin: JsonObject) -> str:
    shown = {title: origin[key] for key, title in _ROWS.items() if origin.get(key) not in (None, {}, [])}
    bits = origin["bits_per_weight"]
    return _BODY.format(
        name=Path(folder).name,
        base=_base_name(origin["source"]),
        label=origin["label"],
        bits=bits["quantized"],
        all_bits=bits["all"],
        count=origin["layers_quantized"],
        suite=SUITE,
        rows="\n".join(f"| {title} | {_text(value)} |" for title, value in shown.items()),
    )


def suite_text(folder: str, base: ModelRef, device: str, origin: JsonObject) -> str:
    """A suite that measures the checkpoint, whose folder it lies in, beside its base."""
    name = Path(folder).name
    base_name = base.name if base.name != name else f"{name} (base)"
    dtype = origin["dtype"]
    unquantized: JsonObject = {"source": _from(folder, base.source), "name": base_name, "dtypes": [dtype]}
    if base.revision:
        unquantized["revision"] = base.revision
    if base.allow_pickle:
        unquantized["allow_pickle"] = True
    suite = {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:64] or "checkpoint",
        "models": [unquantized, {"source": ".", "name": name, "dtypes": [dtype]}],
        "methods": [{"name": "none"}, {"name": "saved"}],
        "devices": [device],
        "exclude": [{"model": base_name, "method": "saved"}, {"model": name, "method": "none"}],
    }
    dumped = yaml.safe_dump(suite, sort_keys=False, allow_unicode=True)
    return f"# This checkpoint beside the model that it was made from.\n{dumped}"


def _from(folder: str, source: str) -> str:
    """A source as the suite inside the folder has to write it: paths are relative to the suite's file."""
    path = Path(source).expanduser()
    if source.startswith("builtin:") or not path.exists():
        return source
    return os.path.relpath(path.resolve(), Path(folder).resolve())


def _base_name(source: str) -> str:
    return source if source.startswith("builtin:") or source.count("/") == 1 else Path(source).name


def _text(value: object) -> str:
    """A value in one cell of a Markdown table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.replace("|", "\\|").split())

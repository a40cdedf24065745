"""Saving and loading a quantized model: the same bits back, or a clear error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import qbench
from qbench import ModelError
from qbench.models import source
from qbench.quant.method import registry
from qbench.quant.model import checkpoint
from qbench.quant.model.checkpoint import FACTS, WEIGHTS, load_quantized, save_quantized
from qbench.quant.model.convert import layer_table, quantize_model
from qbench.quant.model.skeleton import parameters_on_meta, unsaved_buffers
from tests.quant import tiny


def quantized(model: Any, name: str = "absmax", **params: Any) -> Any:
    quantize_model(model, registry.make(name, params))
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of a tiny Llama."""
    save_quantized(
        quantized(tiny.llama(torch.bfloat16), num_bits=4), tmp_path / "it", origin={"source": "here"}
    )
    return tmp_path / "it"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("absmax", {}),
        ("absmax", {"num_bits": 3, "strategy": "group", "group_size": 32}),
        ("zeropoint", {"num_bits": 5, "strategy": "tensor"}),
        ("zeropoint", {"num_bits": 4, "zero": "float", "zero_in_range": False}),
    ],
)
def test_logits_are_the_same_bits(
    tmp_path: Path, dtype: torch.dtype, family: str, name: str, params: dict[str, Any]
) -> None:
    model = quantized(getattr(tiny, family)(dtype), name, **params)
    expected = tiny.logits(model)
    save_quantized(model, tmp_path / "it", origin={})
    loaded = load_quantized(tmp_path / "it")
    assert torch.equal(tiny.logits(loaded), expected)
    facts = ("name", "kind", "method", "params", "weight_error", "bits_per_weight", "shape")
    before, after = layer_table(model), layer_table(loaded)
    assert [[row[key] for key in facts] for row in after] == [[row[key] for key in facts] for row in before]
    assert not loaded.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in loaded.parameters())


def test_ties_and_unsaved_buffers_come_back(saved: Path) -> None:
    loaded: Any = load_quantized(saved)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    # The rotary frequencies by their closed form: theta^(-2i/d), theta 10000, head size 16.
    expected = 10000.0 ** (-torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(loaded.model.rotary_emb.inv_freq, expected)
    assert "model.rotary_emb.inv_freq" in unsaved_buffers(loaded)


def test_a_model_cast_as_a_whole_keeps_its_buffers_dtype(tmp_path: Path) -> None:
    model = quantized(tiny.llama().to(torch.bfloat16))
    assert model.model.rotary_emb.inv_freq.dtype == torch.bfloat16
    save_quantized(model, tmp_path / "it", origin={})
    assert torch.equal(tiny.logits(load_quantized(tmp_path / "it")), tiny.logits(model))


def test_the_embedded_model_with_tokenizer(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.EMBEDDED, local_files_only=True)
    model = quantized(tiny.embedded(), num_bits=4)
    size = save_quantized(model, tmp_path / "it", origin={"source": "builtin:austen-6m"}, tokenizer=tokenizer)
    assert size == sum(path.stat().st_size for path in (tmp_path / "it").rglob("*"))
    assert torch.equal(tiny.logits(load_quantized(tmp_path / "it")), tiny.logits(model))
    again = AutoTokenizer.from_pretrained(tmp_path / "it", local_files_only=True)
    assert again("It is a truth").input_ids == tokenizer("It is a truth").input_ids


def test_texts_lie_beside_the_weights_and_count(tmp_path: Path) -> None:
    texts = {"README.md": "# ünï\n", "suite.yaml": "name: x\n"}
    size = save_quantized(quantized(tiny.llama()), tmp_path / "it", origin={}, texts=texts)
    assert {name: (tmp_path / "it" / name).read_text(encoding="utf-8") for name in texts} == texts
    assert size == sum(path.stat().st_size for path in (tmp_path / "it").iterdir())


def test_the_loader_is_public_and_the_floor_below_knows_the_folder(saved: Path) -> None:
    assert qbench.load_quantized is load_quantized
    assert source.FACTS == FACTS
    assert source.locate(str(saved), None).quantized


def test_the_file_holds_the_bits_that_are_claimed(saved: Path) -> None:
    tensors = load_file(saved / WEIGHTS)
    codes = sum(tensor.nbytes for name, tensor in tensors.items() if name.endswith(".codes"))
    weights = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
    assert codes == weights * 4 // 8
    assert "lm_head.weight" not in tensors


def test_transformers_alone_refuses_instead_of_starting_from_random_weights(saved: Path) -> None:
    from transformers import AutoModelForCausalLM

    with pytest.raises(OSError, match="no file named"):
        AutoModelForCausalLM.from_pretrained(saved, local_files_only=True)


def test_gguf_marks_are_dropped(tmp_path: Path) -> None:
    model = quantized(tiny.llama())
    model.config.quantization_config = {"quant_method": "gguf"}
    save_quantized(model, tmp_path / "it", origin={})
    assert "quantization_config" not in json.loads((tmp_path / "it" / "config.json").read_text())
    assert hasattr(model.config, "quantization_config")
    assert torch.equal(tiny.logits(load_quantized(tmp_path / "it")), tiny.logits(model))


def edit_facts(folder: Path, **changes: Any) -> None:
    known = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps({**known, **changes}))


def edit_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


Q_CODES = "model.layers.0.self_attn.q_proj.codes"
NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop(Q_CODES), f"tensor {Q_CODES} is missing"),
        (lambda tensors: tensors.pop("model.embed_tokens.weight"), "embed_tokens.weight is missing"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "extra belongs to no layer"),
        (lambda tensors: tensors.update({NORM: torch.ones(65)}), r"norm.weight is float32 \(65,\)"),
        (
            lambda tensors: tensors.update({Q_CODES: tensors[Q_CODES][:-1].clone()}),
            r"q_proj.codes is .*takes",
        ),
        (lambda tensors: tensors.update({Q_CODES: tensors[Q_CODES].float()}), "q_proj.codes is float32"),
    ],
)
def test_wrong_tensors_are_named(saved: Path, change: Any, said: str) -> None:
    edit_tensors(saved, change)
    with pytest.raises(ModelError, match=said):
        load_quantized(saved)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 1}, "checkpoint format 1, this qbench reads 2"),
        ({"format": None}, "checkpoint format None"),
        ({"layers": []}, "'layers' is missing or no dict"),
        ({"layers": {"model.layers.7.mlp": {"config": {}, "facts": {}}}}, "does not load"),
        ({"class": "GPT2LMHeadModel"}, "holds a GPT2LMHeadModel, its config.json makes a LlamaForCausalLM"),
        ({"dtype": "float9"}, "float9"),
        ({"unsaved_buffers": {}}, "inv_freq was rebuilt as"),
    ],
)
def test_wrong_facts_are_named(saved: Path, changes: dict[str, Any], said: str) -> None:
    edit_facts(saved, **changes)
    with pytest.raises(ModelError, match=said):
        load_quantized(saved)


def test_another_rotary_base_is_noticed(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500.0
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="inv_freq was rebuilt as"):
        load_quantized(saved)


def test_missing_and_broken_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no qbench checkpoint: it has no qbench.json"):
        load_quantized(tmp_path / "nowhere")
    (saved / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:-10])
    with pytest.raises(ModelError, match="does not load: SafetensorError"):
        load_quantized(saved)
    (saved / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="does not load: FileNotFoundError"):
        load_quantized(saved)
    (saved / FACTS).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_quantized(saved)


def test_a_checkpoint_is_never_overwritten(saved: Path) -> None:
    before = (saved / WEIGHTS).read_bytes()
    with pytest.raises(ModelError, match="exists"):
        save_quantized(quantized(tiny.llama()), saved, origin={})
    assert (saved / WEIGHTS).read_bytes() == before


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "_flush", full)
    with pytest.raises(OSError, match="No space"):
        save_quantized(quantized(tiny.llama()), tmp_path / "it", origin={})
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from qbench.quant.method import registry
from qbench.quant.model import checkpoint
from qbench.quant.model.convert import quantize_model
from tests.quant import tiny
model = tiny.llama()
quantize_model(model, registry.make("absmax", {}))
if sys.argv[2] == "before":
    Path.rename = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
else:
    def half(tensors, path):
        Path(path).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    checkpoint.save_file = half
checkpoint.save_quantized(model, Path(sys.argv[1]), origin={})
"""


@pytest.mark.parametrize("instant", ["before", "during"])
def test_killed_on_the_way_leaves_no_checkpoint_under_its_name(tmp_path: Path, instant: str) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "it"), instant],
        cwd=root,
        env={**os.environ},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "it").exists()
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


def test_parameters_on_meta_ends_with_its_block() -> None:
    with parameters_on_meta():
        inside = nn.Linear(4, 4)
    assert inside.weight.is_meta
    assert not nn.Linear(4, 4).weight.is_meta


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("params", [{}, {"num_bits": 4, "strategy": "group", "group_size": 32}])
def test_on_a_gpu_the_codes_and_the_logits_are_the_same(tmp_path: Path, params: dict[str, Any]) -> None:
    here = quantized(tiny.llama(torch.bfloat16), **params)
    there = quantized(tiny.llama(torch.bfloat16).to("cuda"), **params)
    for name, tensor in here.state_dict().items():
        assert torch.equal(there.state_dict()[name].cpu(), tensor), name
    expected = tiny.logits(there)
    save_quantized(there, tmp_path / "it", origin={})
    assert torch.equal(tiny.logits(load_quantized(tmp_path / "it", "cuda")), expected)
    torch.testing.assert_close(
        expected.cpu(), tiny.logits(here), rtol=0, atol=0.05 * float(expected.abs().max())
    )


def test_every_file_is_as_readable_as_the_umask_says(saved: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in saved.iterdir() if path.is_file()}
    assert modes[WEIGHTS] == modes[FACTS] != 0o600

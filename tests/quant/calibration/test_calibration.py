"""The calibration driver: what each layer is told of its inputs, against plain hooks on the whole model."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qbench import AffineWeight, Layer, Method, MethodError
from qbench.quant.calibration import blocks
from qbench.quant.calibration import walk as calibration
from qbench.quant.method import registry
from qbench.quant.method.inputs import Inputs
from qbench.quant.method.products import add_products, whole
from qbench.quant.model.convert import layer_table, quantize_model, quantized_layers
from qbench.quant.selection.targets import select
from tests.quant import tiny

TOLD: dict[str, Inputs] = {}
"""What `Spy` was told of each layer's inputs."""


@dataclass(frozen=True)
class Spy(Method):
    """Absmax in 3 bits that remembers what it was told."""

    in_turn: bool = False

    @property
    def statistics(self) -> tuple[Any, ...]:
        return ("hessian", "columns", "range")

    @property
    def one_by_one(self) -> bool:
        return self.in_turn

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        assert layer.inputs is not None
        TOLD[layer.name] = layer.inputs
        layer.notes["seen"] = layer.inputs.tokens
        return plain(weight, layer)


def plain(weight: Tensor, layer: Layer) -> AffineWeight:
    made: AffineWeight = registry.make("absmax", {"num_bits": 3}).quantize_layer(weight, layer)
    return made


def opt() -> Any:
    """With projections before and after the blocks, as OPT-350M has."""
    from transformers import AutoModelForCausalLM, OPTConfig

    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=96,
        hidden_size=64,
        ffn_dim=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        do_layer_norm_before=False,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)


def gemma() -> Any:
    """Every second layer sees a window of 8 tokens only: blocks are not all given the same mask."""
    from transformers import AutoModelForCausalLM, Gemma2Config

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        sliding_window=8,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().requires_grad_(False)


MODELS: dict[str, Callable[[], Any]] = {
    "llama": tiny.llama,
    "untied": lambda: tiny.llama(tie=False),
    "gpt2": tiny.gpt2,
    "opt": opt,
    "gemma": gemma,
}


def windows(samples: int = 6, seqlen: int = 24) -> Tensor:
    return torch.randint(0, 96, (samples, seqlen), generator=torch.Generator().manual_seed(1))


def run_order(model: Any) -> list[str]:
    """Names of the linear layers in the order in which they run."""
    order: list[str] = []
    for target in select(model, Spy(), {}).targets:
        name = target.layer.name
        model.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: order.append(name))
    model(input_ids=windows(1, 8))
    return order


def hooked(model: Any, name: str, ids: Tensor) -> Tensor:
    """The inputs (tokens, K) of one layer, float64, from forwards of the whole model."""
    seen: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].reshape(-1, args[0].shape[-1]).double())
    )
    for window in ids:
        model(input_ids=window[None])
    hook.remove()
    return torch.cat(seen)


def block_of(name: str) -> str:
    """`model.layers.0` of `model.layers.0.mlp.up_proj`; the layer itself outside of the blocks."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts) - 1)
    return ".".join(parts[: number + 1])


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("family", MODELS)
@torch.no_grad()
def test_layers_are_told_what_the_quantized_model_gives_them(
    family: str, in_turn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(calibration.BATCH_TOKENS, "cpu", 48)  # several batches
    order = run_order(MODELS[family]())
    ids = windows()
    TOLD.clear()
    done = quantize_model(MODELS[family](), Spy(in_turn), calibration=ids)
    assert set(TOLD) == set(order) == set(done.quantized)
    assert done.calibration_tokens == ids.numel()
    truth = MODELS[family]()
    for place, name in enumerate(order):
        before = order[:place] if in_turn else [x for x in order[:place] if block_of(x) != block_of(name)]
        before = [x for x in before if TOLD[x] is not TOLD[name]]
        quantized = MODELS[family]()
        if before:
            quantize_model(quantized, registry.make("absmax", {"num_bits": 3}), {"include": before})
        x = hooked(quantized, name, ids)
        found = TOLD[name]
        assert found.tokens == len(x)
        expected = 2 / len(x) * x.t() @ x
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.hessian().double(), expected, rtol=0, atol=1e-5 * scale)
        torch.testing.assert_close(found.columns().double(), x.abs().amax(0), rtol=1e-4, atol=1e-6)
        assert found.range() == pytest.approx((min(0, float(x.min())), max(0, float(x.max()))), rel=1e-4)
        if before:
            float_x = hooked(truth, name, ids)
            assert float((x - float_x).abs().max()) > 1e-3 * float(x.abs().max()), (
                "the prefix made no difference"
            )


def test_layers_that_share_an_input_share_its_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[Inputs] = []
    usual = Inputs.add

    def counting(self: Inputs, x: Tensor) -> None:
        added.append(self)
        usual(self, x)

    monkeypatch.setattr(Inputs, "add", counting)
    monkeypatch.setitem(calibration.BATCH_TOKENS, "cpu", 48)
    for in_turn in (False, True):
        added.clear()
        TOLD.clear()
        quantize_model(tiny.llama(), Spy(in_turn), calibration=windows())
        for block in ("model.layers.0", "model.layers.1"):
            q, k, v = (TOLD[f"{block}.self_attn.{name}_proj"] for name in "qkv")
            assert q is k is v
            gate, up, down = (TOLD[f"{block}.mlp.{name}_proj"] for name in ("gate", "up", "down"))
            assert gate is up
            assert len({id(one) for one in (q, gate, down, TOLD[f"{block}.self_attn.o_proj"])}) == 4
        assert len(added) == 2 * 4 * 3, "blocks × inputs × batches"


@dataclass(frozen=True)
class Forgetful(Spy):
    """Keeps nothing, so that what stays in memory is the driver's."""

    def quantize_layer(self, weight: Tensor, layer: Layer) -> AffineWeight:
        return plain(weight, layer)


@pytest.mark.parametrize(("in_turn", "most"), [(False, 4), (True, 1)])
def test_memory_holds_one_block_of_statistics_and_hidden_states_once(
    in_turn: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics: list[weakref.ref[Any]] = []
    seen: list[weakref.ref[Any]] = []
    hidden: list[weakref.ref[Any]] = []
    peaks = {"statistics": 0, "inputs": 0, "hidden": 0}
    usual_init, usual_add, usual_run = Inputs.__init__, Inputs.add, blocks.Stack.run_block

    def alive(references: list[weakref.ref[Any]]) -> int:
        return sum(reference() is not None for reference in references)

    def init(self: Inputs, *args: Any) -> None:
        usual_init(self, *args)
        statistics.append(weakref.ref(self))
        peaks["statistics"] = max(peaks["statistics"], alive(statistics))

    def add(self: Inputs, x: Tensor) -> None:
        peaks["inputs"] = max(peaks["inputs"], alive(seen))
        seen.append(weakref.ref(x))
        usual_add(self, x)

    def run_block(self: blocks.Stack, index: int, batch: blocks.Captured) -> Tensor:
        made = usual_run(self, index, batch)
        hidden.append(weakref.ref(made))
        peaks["hidden"] = max(peaks["hidden"], alive(hidden))
        return made

    monkeypatch.setattr(Inputs, "__init__", init)
    monkeypatch.setattr(Inputs, "add", add)
    monkeypatch.setattr(blocks.Stack, "run_block", run_block)
    monkeypatch.setitem(calibration.BATCH_TOKENS, "cpu", 24)  # a window a batch
    gc.disable()
    try:
        quantize_model(tiny.llama(tie=False), Forgetful(in_turn), calibration=windows(samples=12))
        assert alive(statistics) == alive(seen) == 0
    finally:
        gc.enable()
    assert peaks["statistics"] == most
    assert peaks["inputs"] <= 4, "inputs of earlier batches are kept"
    assert len(hidden) > 12
    assert peaks["hidden"] <= 12 + 1


def test_the_record_knows_tokens_and_notes_and_no_calibration_run() -> None:
    model = tiny.llama()
    quantize_model(
        model, Spy(), {"overrides": [{"pattern": "*.o_proj", "method": "absmax"}]}, calibration=windows()
    )
    rows = {row["name"]: row for row in layer_table(model)}
    told = rows["model.layers.0.mlp.up_proj"]
    assert (told["calibration_tokens"], told["notes"]) == (144, {"seen": 144})
    other = rows["model.layers.0.self_attn.o_proj"]
    assert (other["calibration_tokens"], other["notes"], other["method"]) == (None, {}, "absmax")
    assert all(row["executed"] == [] for row in rows.values())
    assert all(row["bytes"]["prepared"] == 0 for row in rows.values())


def test_an_override_alone_is_calibrated() -> None:
    model = tiny.llama()
    layers = {"overrides": [{"pattern": "*.down_proj", "method": "gptq", "num_bits": 3}]}
    method = registry.make("absmax", {})
    quantize_model(model, method, layers, calibration=windows(32, 48))
    by_method: dict[str, set[str]] = {}
    for row in layer_table(model):
        by_method.setdefault(row["method"], set()).add(row["name"].rpartition(".")[2])
    assert by_method["gptq"] == {"down_proj"}
    assert len(by_method["absmax"]) == 6
    with pytest.raises(MethodError, match=r"gptq reads the inputs of model\.layers\.0\.mlp\.down_proj"):
        quantize_model(tiny.llama(), method, layers)


def test_the_head_alone_is_calibrated_on_the_float_model() -> None:
    TOLD.clear()
    model = tiny.llama(tie=False)
    ids = windows()
    expected = hooked(model, "lm_head", ids)
    quantize_model(model, Spy(), {"include": ["lm_head"]}, calibration=ids)
    assert list(TOLD) == ["lm_head"]
    assert [name for name, _ in quantized_layers(model)] == ["lm_head"]
    torch.testing.assert_close(
        TOLD["lm_head"].hessian().double(), 2 / len(expected) * expected.t() @ expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "none was given; pass calibration=windows"),
        (torch.empty(0, 16, dtype=torch.int64), "one window at least"),
        (torch.zeros(16, dtype=torch.int64), "samples, seqlen"),
        (torch.zeros(2, 16), "torch.float32"),
    ],
)
def test_a_calibration_that_is_none_is_refused(given: Tensor | None, said: str) -> None:
    with pytest.raises(MethodError, match=said):
        quantize_model(tiny.llama(), Spy(), calibration=given)


def noticing(module: nn.Module, args: Any) -> None:
    """A hook of another library."""


def test_layers_hooked_by_another_library_are_refused() -> None:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    model = tiny.llama()
    model.model.layers[1].mlp.up_proj.register_forward_pre_hook(noticing)
    with pytest.raises(MethodError, match=r"layers\.1\.mlp\.up_proj has a forward hook, noticing of tests"):
        quantize_model(model, Spy(), calibration=windows())
    model = tiny.llama()
    add_hook_to_module(model.model.layers[0].self_attn.k_proj, AlignDevicesHook(execution_device="cpu"))
    with pytest.raises(MethodError, match=r"k_proj is hooked by accelerate \(AlignDevicesHook\)"):
        quantize_model(model, Spy(), calibration=windows())
    model = tiny.llama()
    usual = model.model.layers[1].forward
    model.model.layers[1].forward = lambda *args, **kwargs: usual(*args, **kwargs)
    with pytest.raises(MethodError, match=r"model\.layers\.1: its forward was replaced by .*lambda"):
        quantize_model(model, Spy(), calibration=windows())


class Net(nn.Module):
    """A model of blocks, run as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.embed = nn.Embedding(96, 64)
        made = [nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)) for _ in range(2)]
        if how == "twice":
            made[1] = made[0]
        self.blocks = nn.Sequential(*made) if how == "no list" else nn.ModuleList(made)
        self.other = nn.ModuleList([nn.Linear(64, 64)]) if how == "two lists" else None
        self.spare = nn.Linear(64, 64) if how == "idle" else None

    def forward(self, input_ids: Tensor, use_cache: bool) -> Tensor:
        hidden: Tensor = self.embed(input_ids)
        for block in reversed(list(self.blocks)) if self.how == "backwards" else self.blocks:
            hidden = block(hidden)
            if self.how == "between":
                hidden = hidden * 2
        return hidden


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no list", "Net has no list of blocks: no ModuleList holds a linear layer"),
        ("two lists", "more than one list of blocks: blocks, other"),
        ("backwards", r"blocks\.1 runs out of turn"),
        ("between", r"blocks\.1 is not given what the block before it returned"),
        ("twice", "blocks holds one block twice"),
        ("idle", "spare saw no token of the calibration text"),
    ],
)
def test_models_that_are_no_stack_of_blocks_are_refused(how: str, said: str) -> None:
    with pytest.raises(MethodError, match=said):
        quantize_model(Net(how), Spy(), calibration=windows())


def test_a_model_that_is_one_needs_no_name() -> None:
    TOLD.clear()
    model = Net("in turn").train()
    assert quantize_model(model, Spy(), calibration=windows()).quantized == (
        *("blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.1.1"),
    )
    assert model.training
    with torch.no_grad():
        assert model(windows(), False).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_products_are_those_of_float64(dtype: torch.dtype) -> None:
    """Two bf16 multiplications stand in for one in float32 where the CPU has them."""
    generator = torch.Generator().manual_seed(0)
    k = 600  # several pieces of the triangle, the last one narrow
    total, exact = torch.zeros(k, k), torch.zeros(k, k, dtype=torch.float64)
    spread = torch.logspace(-2, 2, k)
    for tokens in (1, 700, 300):
        x = (torch.randn(tokens, k, generator=generator) * spread + 0.3 * spread).to(dtype)
        add_products(total, x)
        exact += x.double().t() @ x.double()
    found = whole(total, 0.5)
    assert torch.equal(found, found.t())
    size = exact.diagonal().sqrt()
    off = (2 * found.double() - exact).abs() / (size[:, None] * size)
    assert float(off.max()) < 2e-5

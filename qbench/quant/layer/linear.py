"""`QuantizedLinear`: a linear layer whose weight is stored packed and run by a kernel of the table.

Stored as plain buffers (`qbench.quant.layer.state` says which), so that a state_dict goes through safetensors
and a reload needs only the module swap.

In memory a kernel may hold the codes in a layout of its own *instead of* the buffer; state_dict, copies and
moves to another device get them back bit for bit, and `report()` counts the bytes in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from qbench.errors import KernelError
from qbench.json_object import JsonObject
from qbench.quant.formats.weight import PackedWeight
from qbench.quant.kernels.base.kernel import Kernel
from qbench.quant.kernels.base.kernel_log import KernelCalls, KernelLog
from qbench.quant.kernels.base.spec import LinearSpec, dtype_name, spec_of
from qbench.quant.kernels.shared.codes import aligned
from qbench.quant.kernels.table import choose, plan
from qbench.quant.layer import compiled_operator as opaque
from qbench.quant.layer import state as stored
from qbench.quant.layer.layer_facts import LayerFacts

MOST_SHAPES = 256
"""Input shapes that a layer keeps its choice of kernel for."""


class _Call(NamedTuple):
    """The kernel that a layer settled on for inputs of one shape, dtype and device."""

    kernel: Kernel
    prepared: tuple[Tensor, ...]
    rows: int
    shape: torch.Size
    """Shape of the output."""
    seen: KernelCalls
    """Calls of this kernel, shared with the layer's kernel log."""


class QuantizedLinear(nn.Module):
    """y = x·Ŵᵀ + bias for Ŵ (N, K) stored as codes. Inference only."""

    codes: Tensor | None
    scale: Tensor
    zero: Tensor | None
    permutation: Tensor | None
    input_scale: Tensor | None
    outlier_columns: Tensor | None
    outlier_weights: Tensor | None
    bias: Tensor | None

    def __init__(self, spec: LinearSpec, name: str = "", device: torch.device | str | None = None) -> None:
        """An empty layer to load a state into (`device="meta"` for `load_state_dict(assign=True)`)."""
        super().__init__()
        self.spec = spec
        self.name = name
        self.in_features, self.out_features = spec.in_features, spec.out_features
        self._prepared: dict[str, tuple[Tensor, ...]] = {}
        self._holder: Kernel | None = None
        """The kernel whose prepared tensors replace `codes`."""
        self._calls: dict[tuple[torch.Size, torch.dtype, torch.device], _Call] = {}
        """Settled calls by the shape of inputs; a decode step looks up no more than this."""
        self.kernel_log = KernelLog()
        self.facts = LayerFacts()
        self.fallback_reason: str | None = None
        self._number = opaque.enrol(self)
        for key, value in stored.empty_state(spec, device).items():
            self.register_buffer(key, value)

    @classmethod
    def from_weight(
        cls,
        weight: PackedWeight,
        bias: Tensor | None = None,
        *,
        dtype: torch.dtype,
        name: str = "",
        kernel: str = "auto",
        allow_fallback: bool = False,
    ) -> Self:
        """Packs a weight. It stays on the weight's device; the bias becomes `dtype`, that of the activations.

        Raises KernelError where the kernel asked for cannot run the layer there.
        """
        spec = spec_of(weight, bias is not None, dtype, kernel, allow_fallback)
        layer = cls(spec, name, weight.codes.device)
        for key, value in stored.state_of(weight).items():
            setattr(layer, key, value)
        if bias is not None:
            layer.bias = bias.detach().to(dtype=dtype, device=weight.codes.device, copy=True)
        layer.planned()
        return layer

    @classmethod
    def from_config(
        cls, config: JsonObject, name: str = "", device: torch.device | str | None = None
    ) -> Self:
        """An empty layer from what `config()` gave; load a state_dict into it."""
        return cls(LinearSpec.from_dict(config), name, device)

    def config(self) -> JsonObject:
        """Everything that rebuilds this layer but its tensors, as JSON values."""
        return self.spec.to_dict()

    def forward(self, x: Tensor) -> Tensor:
        """x (…, K) → (…, N), on the kernel that the table gives for the number of rows."""
        if torch.compiler.is_compiling():
            return opaque.linear(x, self._number, self.out_features, self.spec.threshold is not None)
        return self.run(x)

    def run(self, x: Tensor) -> Tensor:
        """`forward`, never as an operator of a compiled graph."""
        if x.requires_grad:
            raise KernelError(
                f"layer {self.name}: quantized layers are for inference; call under torch.no_grad()"
            )
        spec = self.spec
        known = self._calls.get((x.shape, x.dtype, x.device))
        if known is None:
            if x.numel() == 0:
                return x.new_empty(*x.shape[:-1], spec.out_features)
            known = self._call_for(x)
        flat = x.reshape(known.rows, spec.in_features)
        if spec.permuted and (order := self.permutation) is not None:
            flat = flat.index_select(1, order)
        elif not flat.is_contiguous():
            flat = flat.contiguous()
        out = known.kernel.run(self, known.prepared, flat)
        known.seen.calls += 1
        return out.view(known.shape)

    def zeros(self) -> Tensor | None:
        """Zeros as float32 of the scale's shape, in units of unsigned codes; None when symmetric."""
        return stored.float_zeros(self.spec, self.zero)

    def to_weight(self) -> PackedWeight:
        """The weight that this layer was built from, exactly."""
        return stored.weight_of(self.spec, {**self._buffers, "codes": self.stored_codes()})

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The float weight (N, K), equal to `dequantize` of what was packed."""
        return self.to_weight().dequantize(dtype)

    def stored_codes(self) -> Tensor:
        """The codes as they are stored, from the buffer or from a kernel's layout."""
        if self.codes is not None:
            return self.codes
        if self._holder is None or self._holder.restore is None:
            raise AssertionError("codes were freed and nothing holds them")
        return self._holder.restore(self, self._prepared[self._holder.name])

    @property
    def bits_per_weight(self) -> float:
        """Stored bits a weight: codes with their padding and every other buffer but the bias, over N·K."""
        return stored.bits_per_weight(self.spec, self._buffers)

    def resident_bytes(self) -> dict[str, int]:
        """Bytes in memory now, by part. `prepared`: a kernel's own layout and copies; it may stand
        in for the codes."""
        made = [tensor for tensors in self._prepared.values() for tensor in tensors]
        prepared = sum(
            stored.nbytes(tensor) for tensor in made if tensor.is_mkldnn or not self._shares(tensor)
        )
        return stored.bytes_by_part(self._buffers, prepared)

    def planned(self, dtype: torch.dtype | None = None) -> list[dict[str, str]]:
        """`rows` ("1..16", "17..") and `kernel` for every number of rows; KernelError where none may run."""
        name = self.spec.dtype if dtype is None else dtype_name(dtype)
        ranges = plan(self.spec, name, self.scale.device, self.name)
        self.fallback_reason = next((reason for *_, reason in ranges if reason), None)
        return [
            {"rows": f"{first}..{'' if last is None else last}", "kernel": entry.name}
            for first, last, entry, _ in ranges
        ]

    def prepare(self) -> None:
        """Brings the weight into the layout of every kernel that is planned, ahead of the first call."""
        for *_, entry, _ in plan(self.spec, self.spec.dtype, self.scale.device, self.name):
            self._ready(entry)

    def report(self) -> JsonObject:
        """The kernels asked for and run, and the bytes held, as JSON values."""
        spec = self.spec
        return {
            "name": self.name,
            "shape": [spec.out_features, spec.in_features],
            "code": spec.code,
            "num_bits": spec.num_bits,
            "strategy": spec.strategy,
            "group_size": spec.group_size,
            "activations": spec.activations,
            "requested": spec.kernel,
            "planned": self.planned(),
            "executed": self.kernel_log.executed(),
            "fallback_reason": self.fallback_reason,
            "bits_per_weight": self.bits_per_weight,
            "bytes": self.resident_bytes(),
            **self.kernel_log.outliers(spec.threshold, spec.outliers, spec.in_features),
        }

    def reset_counts(self) -> None:
        """Forgets which kernels ran."""
        self.kernel_log.reset()
        self._calls.clear()

    @property
    def calls(self) -> int:
        """Number of calls, on any kernel."""
        return self.kernel_log.calls

    def credit(self, rows: int, calls: int) -> None:
        """Counts calls that a recorded CUDA graph made without this module: on the kernel of those rows."""
        known = next(known for known in self._calls.values() if known.rows == rows)
        known.seen.calls += calls

    def release(self) -> None:
        """Drops every kernel's own layout and forgets which ran, as after `from_weight`."""
        self._give_back()
        self.reset_counts()

    def extra_repr(self) -> str:
        spec = self.spec
        shape = f"{spec.in_features}, {spec.out_features}"
        code = f"{spec.num_bits} bits" if spec.code == "int" else spec.code
        return f"{shape}, {code}, {spec.strategy}, kernel={spec.kernel}"

    def _call_for(self, x: Tensor) -> _Call:
        """Chooses and prepares the kernel for inputs of this shape."""
        rows = x.numel() // self.spec.in_features
        entry, reason = choose(self.spec, rows, dtype_name(x.dtype), x.device, self.name)
        self.fallback_reason = reason or self.fallback_reason
        prepared = self._ready(entry)
        seen = self.kernel_log.open(entry.name, rows)
        if len(self._calls) >= MOST_SHAPES:
            self._calls.clear()
        shape = torch.Size((*x.shape[:-1], self.spec.out_features))
        known = _Call(entry, prepared, rows, shape, seen)
        self._calls[x.shape, x.dtype, x.device] = known
        return known

    def _ready(self, entry: Kernel) -> tuple[Tensor, ...]:
        """A kernel's prepared tensors; makes them on the first call, and frees the codes it stands in for."""
        prepared = self._prepared.get(entry.name)
        if prepared is None or self._holder not in (None, entry):
            with torch.inference_mode(False), torch.no_grad():
                if self._holder is not None:
                    self._give_back()
                if self.codes is not None:
                    self.codes = aligned(self.codes)  # once here, or at every call of the pack kernel
                prepared = self._prepared.setdefault(entry.name, entry.prepare(self))
            if entry.restore is not None:
                self.codes, self._holder = None, entry
                self._prepared = {entry.name: prepared}
                self._calls.clear()
        return prepared

    def _give_back(self) -> None:
        """Puts the codes back into their buffer and drops every prepared layout."""
        self.codes = self.stored_codes()
        self._holder = None
        self._prepared.clear()
        self._calls.clear()

    def _shares(self, tensor: Tensor) -> bool:
        """True where a prepared tensor is a view of a buffer, such as a scale that needed no conversion."""
        return any(other is not None and other.data_ptr() == tensor.data_ptr() for other in self.buffers())

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moves between devices; a cast (`.half()`) reaches only the bias: the rest is the format."""
        self._give_back()
        kept = {key: value for key, value in self._buffers.items() if value is not None and key != "bias"}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for key, value in kept.items():
            moved = self._buffers[key]
            if moved is not None and moved.dtype != value.dtype:
                self._buffers[key] = value.to(moved.device)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.codes is None:
            destination[prefix + "codes"] = self.stored_codes()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self._give_back()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self) -> JsonObject:
        """State for copies and pickles: the stored form, without any kernel's layout."""
        buffers = {**self._buffers, "codes": self.stored_codes()}
        return {**self.__dict__, "_buffers": buffers, "_prepared": {}, "_holder": None, "_calls": {}}

    def __setstate__(self, state: JsonObject) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._number = opaque.enrol(self)

"""Split attention against torch's own kernel, bit for bit, and against the definition in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qbench.probes.quality.measure import attention
from qbench.probes.quality.measure.attention import SplitAttention


def reference(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    shared = query.shape[1] // key.shape[1]
    key, value = (t.double().repeat_interleave(shared, 1) for t in (key, value))
    scores = query.double() @ key.transpose(-1, -2) * scale
    scores += torch.full(scores.shape[-2:], float("-inf")).triu(1)
    return torch.softmax(scores, -1) @ value


def tensors(heads: int, key_heads: int, tokens: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    query = torch.randn(2, tokens, heads, 32).to(dtype).transpose(1, 2)
    key, value = (torch.randn(2, tokens, key_heads, 32).to(dtype).transpose(1, 2) for _ in range(2))
    return query, key, value


@pytest.fixture
def split_lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the calls that were taken over."""
    taken: list[int] = []
    real = attention._split

    def spy(*args: object, **kwargs: object) -> Tensor:
        taken.append((args[0] if args else kwargs["query"]).shape[2])  # type: ignore[attr-defined]
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "_split", spy)
    return taken


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("tokens", [193, 384, 511, 600, 767])
def test_equals_the_definition(heads: int, key_heads: int, tokens: int, split_lengths: list[int]) -> None:
    query, key, value = tensors(heads, key_heads, tokens, torch.float32)
    with SplitAttention():
        found = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=0.3, enable_gqa=heads != key_heads
        )
    assert split_lengths == [tokens]
    torch.testing.assert_close(found.double(), reference(query, key, value, 0.3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("tokens", [193, 300, 384, 511, 512])
def test_has_the_bits_of_the_call_that_it_replaces(
    tokens: int, dtype: torch.dtype, split_lengths: list[int]
) -> None:
    query, key, value = tensors(4, 2, tokens, dtype)
    theirs = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    with SplitAttention():
        ours = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    assert split_lengths == [tokens]
    assert ours.stride() == theirs.stride()
    differing = (ours != theirs).float().mean()
    if dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported():
        # AMX sums products in an order that depends on the whole shape: now and then the last bit differs
        assert differing <= 1e-4
        torch.testing.assert_close(ours, theirs, rtol=2**-7, atol=0)
    else:
        assert differing <= (0 if dtype == torch.bfloat16 else 0.5)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_only_plain_causal_calls_are_taken_over(split_lengths: list[int]) -> None:
    query, key, value = tensors(4, 4, 200, torch.bfloat16)
    with SplitAttention():
        F.scaled_dot_product_attention(query=query, key=key, value=value, is_causal=True)
        assert split_lengths == [200]
        F.scaled_dot_product_attention(query, key, value)
        F.scaled_dot_product_attention(query, key, value, attn_mask=torch.ones(200, 200, dtype=torch.bool))
        F.scaled_dot_product_attention(query[:, :, :64], key[:, :, :64], value[:, :, :64], is_causal=True)
        F.scaled_dot_product_attention(query[:, :, :1], key, value, is_causal=True)
    F.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert split_lengths == [200]

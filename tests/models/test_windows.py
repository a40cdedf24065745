"""Calibration windows: drawn by seed, each from the text, none twice."""

from __future__ import annotations

import pytest
import torch

from qbench.errors import ModelError
from qbench.models.windows import draw_windows


class Letters:
    """A tokenizer of one token a character."""

    def __call__(self, text: str, verbose: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


TEXT = "".join(chr(i) for i in range(1000))


def test_windows_are_runs_of_the_text_and_none_stands_twice() -> None:
    windows = draw_windows(Letters(), TEXT, 40, 16, seed=3)
    assert (windows.shape, windows.dtype) == ((40, 16), torch.int64)
    assert torch.equal(windows, windows[:, :1] + torch.arange(16))
    starts = windows[:, 0].tolist()
    assert starts == sorted(set(starts))
    assert min(starts) < 200
    assert max(starts) > 800, "drawn from one end of the text only"


def test_a_seed_draws_the_same_windows_and_another_draws_others() -> None:
    first, again, other = (draw_windows(Letters(), TEXT, 8, 16, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_text_that_just_holds_the_windows_gives_all_of_them() -> None:
    windows = draw_windows(Letters(), TEXT[:20], 5, 16, seed=0)
    assert windows[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("samples", "seqlen"), [(6, 16), (1, 21), (10, 100)])
def test_a_text_with_fewer_tokens_names_what_is_asked_and_what_is_there(samples: int, seqlen: int) -> None:
    said = f"asks for {samples} windows of {seqlen} tokens .* the corpus holds 20"
    with pytest.raises(ModelError, match=said):
        draw_windows(Letters(), TEXT[:20], samples, seqlen, seed=0)

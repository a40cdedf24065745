"""Packing: every width round-trips, at exactly its width, whatever the shape."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qbench.errors import MethodError
from qbench.quant.formats.packing import PLANES, pack, packed_width, unpack

WIDTHS = sorted(PLANES)


def random_codes(rows: int, columns: int, num_bits: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2**num_bits, (rows, columns), dtype=torch.uint8, generator=generator)


@settings(max_examples=200, deadline=None)
@given(
    num_bits=st.sampled_from(WIDTHS),
    rows=st.integers(1, 9),
    columns=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_unpack_undoes_pack(num_bits: int, rows: int, columns: int, seed: int) -> None:
    codes = random_codes(rows, columns, num_bits, seed)
    assert torch.equal(unpack(pack(codes, num_bits), num_bits, columns), codes)


@pytest.mark.parametrize("num_bits", [bits for bits in WIDTHS if bits != 8])
@pytest.mark.parametrize("columns", [8, 40, 64, 136, 200])
def test_the_layout_is_the_documented_one(num_bits: int, columns: int) -> None:
    """Every bit is looked up at the place that the module's text gives it: compiled kernels rely on that."""
    codes = random_codes(2, columns, num_bits)
    row = pack(codes, num_bits)[1].tolist()
    start = low = 0
    for width in PLANES[num_bits]:
        for column in range(columns):
            block = column // 64
            step = min(64, columns - 64 * block) * width // 8  # bytes of this block
            piece, byte = divmod(column % 64, step)
            found = row[start + block * 8 * width + byte] >> (piece * width) & (2**width - 1)
            assert found == int(codes[1, column]) >> low & (2**width - 1)
        start, low = start + columns * width // 8, low + width


@pytest.mark.parametrize("num_bits", WIDTHS)
def test_every_code_survives_alone(num_bits: int) -> None:
    """Each bit of each place is its own: one code set to all ones changes no other."""
    for place in range(24):
        codes = torch.zeros(1, 24, dtype=torch.uint8)
        codes[0, place] = 2**num_bits - 1
        packed = pack(codes, num_bits)
        assert sum(int(byte).bit_count() for byte in packed.flatten()) == num_bits
        assert torch.equal(unpack(packed, num_bits, 24), codes)


@pytest.mark.parametrize("num_bits", WIDTHS)
@pytest.mark.parametrize("columns", [8, 64, 576])
def test_bytes_are_exact_where_8_divides_k(num_bits: int, columns: int) -> None:
    packed = pack(random_codes(3, columns, num_bits), num_bits)
    assert packed.shape == (3, columns * num_bits // 8)
    assert packed_width(columns, num_bits) * 8 == columns * num_bits


@pytest.mark.parametrize("num_bits", [bits for bits in WIDTHS if bits != 8])
def test_a_ragged_row_is_padded_to_eight_codes(num_bits: int) -> None:
    assert pack(random_codes(2, 9, num_bits), num_bits).shape[1] == 2 * num_bits == packed_width(9, num_bits)


def test_rows_unpack_on_their_own() -> None:
    codes = random_codes(10, 33, 5)
    assert torch.equal(unpack(pack(codes, 5)[3:7], 5, 33), codes[3:7])


def test_packing_shares_no_memory_with_its_input() -> None:
    codes = random_codes(2, 8, 8)
    packed = pack(codes, 8)
    codes.zero_()
    assert packed.any()


@pytest.mark.parametrize("num_bits", [0, 1, 9])
def test_other_widths_are_refused(num_bits: int) -> None:
    with pytest.raises(MethodError, match="cannot be packed"):
        pack(random_codes(1, 8, 2), num_bits)
    with pytest.raises(MethodError, match="cannot be packed"):
        unpack(random_codes(1, 8, 8), num_bits, 8)


def test_a_code_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MethodError, match="16 does not fit into 4 bits"):
        pack(torch.full((1, 8), 16, dtype=torch.uint8), 4)


@pytest.mark.parametrize("codes", [torch.zeros(1, 8), torch.zeros(8, dtype=torch.uint8)])
def test_other_tensors_are_refused(codes: Tensor) -> None:
    with pytest.raises(MethodError, match="uint8"):
        pack(codes, 4)

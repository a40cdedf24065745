"""Which cell of one version is which of another: by words, not by ids."""

from __future__ import annotations

from typing import Any

from qbench.cell import ModelRef
from qbench.gate.ab.pairs import match
from qbench.gate.ab.versions import Entry
from tests.gate.ab.stage import cell


def entry(label: str = "x", state: str = "run", **changes: Any) -> Entry:
    planned = cell(label, **changes)
    return Entry(planned.to_dict(), planned, state, "why" if state == "skip" else None)


def test_cells_whose_ids_differ_are_matched_by_what_they_are() -> None:
    old, new = entry(seed=0), entry(seed=1)
    assert old.cell.id != new.cell.id
    (pair,) = match([old], [new])
    assert pair.whole
    assert pair.entries == {"baseline": old, "candidate": new}
    assert pair.cell is new.cell


def test_every_word_parts_two_cells() -> None:
    changes: list[dict[str, Any]] = [
        {"dtype": "fp32"}, {"device": "cuda:0"}, {"runtime": "compile"}, {"repetition": 1},
        {"method": "int4"}, {"model": ModelRef("other", "m", "sha256:0")},
    ]  # fmt: skip
    for change in changes:
        pairs = match([entry()], [entry(**change)])
        assert [set(pair.entries) for pair in pairs] == [{"candidate"}, {"baseline"}], change
    assert len(match([entry("x")], [entry("y")])) == 2


def test_a_parameter_that_one_version_lacks_does_not_part_them() -> None:
    old, new = entry(params={"num_bits": 8}), entry(params={"num_bits": 8, "range": "minmax"})
    (pair,) = match([old], [new])
    assert pair.whole
    assert pair.notes == ("parameters that one version lacks: range",)


def test_a_changed_default_does_not_part_them_where_the_label_is_the_only_one_of_its_name() -> None:
    old, new = (
        entry("hqq", params={"num_bits": 4, "steps": 20}),
        entry("hqq", params={"num_bits": 4, "steps": 30}),
    )
    (pair,) = match([old], [new])
    assert pair.whole
    assert pair.notes == ("another default of steps: 20 in the baseline, 30 in the candidate",)
    both = [entry("hqq", params={"num_bits": 4, "steps": 20, "fast": False}), entry("rtn")]
    assert [pair.whole for pair in match(both, [entry("rtn"), new])] == [True, True]
    gone = match([old, entry("rtn")], [entry("rtn")])
    assert [set(pair.entries) for pair in gone] == [{"baseline", "candidate"}, {"baseline"}], (
        "really vanished"
    )


def test_two_cells_of_one_label_are_parted_by_what_differs() -> None:
    for more, ours in (([entry(params={"num_bits": 8})], []), ([], [entry(params={"num_bits": 2})])):
        old, new = [entry(params={"num_bits": 8}), *ours], [entry(params={"num_bits": 4}), *more]
        pairs = match(old, new)
        assert not [pair for pair in pairs if pair.whole and pair.cell.params == {"num_bits": 4}]
    split = [entry(params={"num_bits": bits}) for bits in (4, 2)]
    assert not any(pair.whole for pair in match([entry(params={"num_bits": 8})], split))


def test_an_ambiguous_parameter_matches_nothing() -> None:
    old = entry(params={"num_bits": 8})
    new = [entry(params={"num_bits": 8, "range": name}) for name in ("minmax", "mse")]
    pairs = match([old, entry(params={"num_bits": 8, "group_size": 64})], new)
    assert all(not pair.whole for pair in pairs)
    assert len(pairs) == 4


def test_an_exact_match_comes_before_a_near_one() -> None:
    exact, near = entry(params={"a": 1, "b": 2}), entry(params={"a": 1})
    (first, second) = match([near, exact], [entry(params={"a": 1, "b": 2}), entry(params={"a": 1})])
    assert first.entries["baseline"] is exact
    assert second.entries["baseline"] is near


def test_a_skipped_side_is_not_run_and_other_weights_are_told() -> None:
    (pair,) = match([entry()], [entry(state="skip", model=ModelRef("m", "m", "sha256:1"))])
    assert not pair.whole
    assert pair.runs("baseline")
    assert not pair.runs("candidate")
    assert pair.notes == ("the two versions take other weights for the model of this name",)

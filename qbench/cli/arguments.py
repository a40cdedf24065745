"""Arguments of a command line as the values of a suite; SuiteError names an argument that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from qbench.errors import SuiteError
from qbench.fields import parse_bytes, value_text
from qbench.json_object import JsonObject
from qbench.suite.positions import read
from qbench.suite.sections import CalibrationSpec, LayersSpec

_Spec = TypeVar("_Spec", bound=BaseModel)


def pairs(words: Sequence[str], option: str) -> JsonObject:
    """`["num_bits=4", "zero=float"]` as a dict; values by the rules of YAML, as in a suite."""
    found: JsonObject = {}
    for word in words:
        key, equals, value = (piece.strip() for piece in word.partition("="))
        if not (key and equals and value):
            raise SuiteError(f"{option} {value_text(word)} is not KEY=VALUE; write it as num_bits=4")
        if key in found:
            raise SuiteError(f"{option} gives {key} twice; keep one")
        found[key] = read(value, f"{option} {key}").value
    return found


def layers_spec(include: Sequence[str], exclude: Sequence[str], override: Sequence[str]) -> LayersSpec:
    """The section `layers` of a suite."""
    said = {
        "include": list(include),
        "exclude": list(exclude),
        "overrides": [_override(word) for word in override],
    }
    return _checked(LayersSpec, {key: value for key, value in said.items() if value})


def calibration_spec(said: Mapping[str, Any]) -> CalibrationSpec | None:
    """The section `calibration` of a suite; None where nothing is said of it."""
    given = {key: value for key, value in said.items() if value is not None}
    return _checked(CalibrationSpec, given) if given else None


def size(text: str | None) -> int | None:
    """`8GiB` in bytes."""
    try:
        found = parse_bytes(text)
    except ValueError as error:
        raise SuiteError(f"--memory-limit {value_text(text)} {error}") from error
    return found if isinstance(found, int) else None


def kernel_method(word: str) -> tuple[str, JsonObject]:
    """`int4:group_size=64,symmetric=false` as a method's name and its parameters."""
    name, _, rest = word.partition(":")
    return name.strip(), pairs(rest.split(","), "--method") if rest.strip() else {}


def kernel_shape(word: str) -> tuple[int, int]:
    """`4096x1024` as outputs and inputs of a layer."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})[x×]([1-9][0-9]{0,6})", word.strip())
    if match is None:
        raise SuiteError(f"--shape {value_text(word)} is not NxK; write outputs × inputs as 4096x1024")
    return int(match[1]), int(match[2])


def _override(word: str) -> JsonObject:
    pattern, colon, rest = word.partition(":")
    if not (pattern.strip() and colon and rest.strip()):
        raise SuiteError(
            f"--override {value_text(word)} is not PATTERN:KEY=VALUE,…; write it as '*.down_proj:num_bits=8'"
        )
    return {"pattern": pattern.strip(), **pairs(rest.split(","), "--override")}


def _checked(spec: type[_Spec], said: JsonObject) -> _Spec:
    try:
        return spec.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SuiteError(f"{where} = {value_text(first['input'])}: {first['msg']}") from error

"""Reading YAML into plain values while remembering where each key and value stands.

The reader is strict, because a suite is small and written by hand: plain values only (text, numbers,
booleans, null, lists, mappings with text keys), by the rules of YAML 1.2's core schema, so that `no` is
text and `1e3` a number, as editors see them. Whatever else a file holds, `read` returns a `Document` or
raises SuiteError, in time that the limits below bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from qbench.errors import SuiteError
from qbench.fields import one_line, value_text
from qbench.json_object import JsonObject

KeyPath = tuple[str | int, ...]
"""Path of a value in a suite: `("methods", 1, "num_bits")`."""

MAX_CHARACTERS = 256 * 1024
MAX_VALUES = 10_000
"""Counted after aliases are written out, so that nested anchors cannot explode."""
MAX_DEPTH = 24
MISSING: Final = object()
"""Stands for "look the value up in the document"."""


@dataclass(frozen=True, order=True)
class Position:
    """Both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """Plain values of a YAML file, its text, and the position of every key and value."""

    value: Any = None
    file: str = "suite"
    text: str = ""
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)

    def describe(self, path: KeyPath, message: str, value: object = MISSING, *, at_key: bool = False) -> str:
        """`FILE:LINE:COLUMN: KEY = VALUE: MESSAGE`, at the nearest place that stands in the file."""
        shown = self.lookup(path) if value is MISSING else value
        position = self.keys[path] if at_key else self.place(path)
        return describe(self.file, position, path, shown, message)

    def place(self, path: KeyPath) -> Position | None:
        """Position of the value, or of the nearest one around it; None for a document without a file."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path)

    def lookup(self, path: KeyPath) -> Any:
        """The value at `path`, or MISSING."""
        if path not in self.values:
            return MISSING
        found = self.value
        for key in path:
            found = found[key]
        return found


def describe(file: str, position: Position | None, path: KeyPath, value: object, message: str) -> str:
    """One line that names file, line, column, key, value and what to do."""
    parts = [f"{file}:{position.line}:{position.column}" if position else file]
    if path:
        parts.append(key_text(path) if value is MISSING else f"{key_text(path)} = {value_text(value)}")
    return ": ".join([*parts, message])


def key_text(path: KeyPath) -> str:
    """`("methods", 1, "num_bits")` as `methods[1].num_bits`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{one_line(key)}" for key in path)
    return text.removeprefix(".")


class _Loader(yaml.SafeLoader):
    """Composes nodes (never objects), with a bound on depth and number, by YAML 1.2's core schema."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH or self.nodes > MAX_VALUES:
            limit = (
                f"nested deeper than {MAX_DEPTH}"
                if self.depth > MAX_DEPTH
                else f"more than {MAX_VALUES} values"
            )
            raise yaml.composer.ComposerError(None, None, f"{limit}; this is no suite", self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_CORE = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}

_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}",
        re.compile(f"^(?:{_pattern})$"),
        ["" if c == "\0" else c for c in _first],
    )


def read(text: str, file: str) -> Document:
    """Parses one YAML document. Raises SuiteError with file, line and column for anything amiss."""
    if len(text) > MAX_CHARACTERS:
        raise SuiteError(
            f"{file}: {len(text)} characters; a suite has at most {MAX_CHARACTERS}, this is something else"
        )
    node = _compose(text, file)
    reader = _Reader(file)
    value = reader.convert(node, ()) if node is not None else None
    return Document(value, file, text, reader.keys, reader.values)


def _compose(text: str, file: str) -> yaml.Node | None:
    loader = _loader(text, file)
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        raise _at(mark, file, _reason(error)) from error
    except (ValueError, OverflowError) as error:  # PyYAML on "\UFFFFFFFF" or a %YAML line of endless digits
        raise _at(loader.get_mark(), file, f"not YAML: {error}") from error


def _at(mark: yaml.Mark, file: str, message: str) -> SuiteError:
    return SuiteError(describe(file, Position(mark.line + 1, mark.column + 1), (), MISSING, message))


def _loader(text: str, file: str) -> _Loader:
    try:
        return _Loader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        position = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"character U+{error.character:04X} may not stand in YAML; is this a text file in UTF-8?"
        raise SuiteError(describe(file, position, (), MISSING, message)) from error


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(part for part in (error.problem, error.context) if part)
    if "'\\t'" in problem:
        return "a tab stands where only spaces may; indent with spaces"
    if "but found another document" in problem:
        return "a second document begins (`---`); a suite file holds one"
    return f"not YAML: {problem}"


@dataclass
class _Reader:
    """Turns nodes into plain values and notes positions."""

    file: str
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    """Ids of the nodes around the present one: meeting one again is an anchor that holds itself."""

    def convert(self, node: yaml.Node, path: KeyPath) -> Any:
        self.values[path] = _position(node)
        if len(self.values) > MAX_VALUES:
            raise self.error(node, path, f"more than {MAX_VALUES} values once aliases are written out")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            raise self.error(node, path, "an anchor holds itself; write the values out")
        if len(path) > MAX_DEPTH:
            raise self.error(node, path, f"nested deeper than {MAX_DEPTH}; this is no suite")
        self.open.add(id(node))
        value = self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)
        self.open.remove(id(node))
        return value

    def sequence(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        self.check_tag(node, path, "seq")
        return [self.convert(child, (*path, index)) for index, child in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> JsonObject:
        self.check_tag(node, path, "map")
        found: JsonObject = {}
        for key_node, child in node.value:
            key = self.key(key_node, path)
            if key in found:
                first = self.keys[(*path, key)].line
                raise self.error(key_node, (*path, key), f"given twice (first in line {first}); keep one")
            self.keys[(*path, key)] = _position(key_node)
            found[key] = self.convert(child, (*path, key))
        return found

    def key(self, node: yaml.Node, path: KeyPath) -> str:
        if isinstance(node, yaml.ScalarNode) and node.value == "<<" and not node.style:
            raise self.error(node, path, "merge keys (<<) are not read; write the keys out")
        key = self.scalar(node, path) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise self.error(node, path, "a key must be text; put it in quotes if it is meant")
        return key

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text: str = node.value
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in ("int", "float") and re.fullmatch(_CORE[kind][0], text):
            return self.number(node, path, kind)
        self.check_tag(node, path, "str")
        if re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text):
            raise self.error(node, path, "a control character or half a surrogate pair stands in the text")
        return text

    def number(self, node: yaml.ScalarNode, path: KeyPath, kind: str) -> int | float:
        text: str = node.value
        if kind == "float":
            value = float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
            if value - value != 0:  # infinite or not a number
                raise self.error(
                    node, path, f"{text[:40]} is no finite number; leave the key out for its default"
                )
            return value
        bases = {"0o": 8, "0x": 16}
        if len(text) > 40 or abs(whole := int(text, bases.get(text[:2], 10))) >= 2**63:
            raise self.error(
                node, path, f"{text[:40]} does not fit in 64 bits; put it in quotes if it is text"
            )
        return whole

    def check_tag(self, node: yaml.Node, path: KeyPath, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self.error(node, path, f"tag {node.tag} is not read; a suite holds plain values")

    def error(self, node: yaml.Node, path: KeyPath, message: str) -> SuiteError:
        return SuiteError(describe(self.file, _position(node), path, MISSING, message))


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)

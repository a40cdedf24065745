"""From a file, or the name of a packaged suite, to a checked `Suite`; SuiteError for all that is wrong."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from qbench.errors import SuiteError, did_you_mean
from qbench.fields import value_text
from qbench.suite.checks import EVERY_METHOD, findings
from qbench.suite.matrix import expand
from qbench.suite.positions import MAX_CHARACTERS, Document, read
from qbench.suite.problems import in_file_order, problems
from qbench.suite.spec import Suite

_WAY_OUT = "a suite needs at least name, models and methods"


def load_suite(path_or_name: str | Path) -> Suite:
    """The suite in a file, or the packaged one of that name (`quickstart`); a file wins over a name.

    Raises SuiteError with every problem of the file, a line each.
    """
    text = str(path_or_name)
    source = _find(text)
    try:
        with source.open("rb") as stream:
            data = stream.read(4 * MAX_CHARACTERS + 1)
    except OSError as error:
        raise SuiteError(f"{text}: cannot be read: {error.strerror}") from error
    return parse_suite(data, text if isinstance(source, Path) and Path(text) == source else str(source))


def suite_path(path_or_name: str | Path) -> Path:
    """The file that `load_suite` would read; SuiteError where there is none."""
    return Path(str(_find(str(path_or_name))))


def packaged_suites() -> list[str]:
    """Names that `load_suite` knows besides files."""
    return sorted(entry.name[:-5] for entry in _package().iterdir() if entry.name.endswith(".yaml"))


def parse_suite(text: str | bytes, file: str) -> Suite:
    """Parses and checks a suite; `file` names it in messages and is what its paths are relative to."""
    document = read(_decode(text, file) if isinstance(text, bytes) else text, file)
    if document.value is None:
        raise SuiteError(f"{file}:1:1: is empty; {_WAY_OUT}")
    if not isinstance(document.value, dict):
        raise SuiteError(document.describe((), f"a suite is a mapping of keys to values; {_WAY_OUT}"))
    suite = _validate(document)
    found = [(path, document.describe(path, message)) for path, message in findings(suite)]
    if found:
        raise SuiteError("\n".join(in_file_order(found, document)))
    if not any(method.name == EVERY_METHOD for method in suite.methods):
        expand(suite)  # for its checks; with `*` they wait for the registry's names
    return suite


def _validate(document: Document) -> Suite:
    try:
        suite = Suite.model_validate(document.value)
    except ValidationError as error:
        raise SuiteError("\n".join(problems(error, document))) from error
    suite._document = document
    return suite


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SuiteError(
            f"{file}:{line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8 text"
        ) from error


def _find(text: str) -> Traversable:
    try:
        path = Path(text)
        if path.is_file():
            return path
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # too long, a NUL byte, a folder that may not be searched
        raise SuiteError(f"{value_text(text)}: cannot be opened: {error.args[-1]}") from error
    name = text.removesuffix(".yaml")
    if name in packaged_suites():
        return _package() / f"{name}.yaml"
    if is_folder:
        inside = sorted(str(entry) for entry in path.glob("*.yaml"))
        raise SuiteError(
            f"{text}: is a folder; name a file in it: {', '.join(inside) or 'it has no .yaml files'}"
        )
    if exists:
        raise SuiteError(f"{text}: is neither a file nor a folder")
    raise SuiteError(
        f"{value_text(text)}: no such file, and no packaged suite; {did_you_mean(name, packaged_suites())}"
    )


def _package() -> Traversable:
    return resources.files("qbench.suites")

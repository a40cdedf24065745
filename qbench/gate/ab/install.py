"""Another version of qbench beside the one that runs: a commit laid out in a folder of its own.

`git archive` takes the commit's packages out of the repository (which a kill at any moment leaves as it
was: a worktree would stay registered), they are laid out as its `pyproject.toml` says, and a virtual
environment without packages of its own sees them first and the packages that are installed here after them.
Nothing is built and nothing downloaded. So the commit's requirements must be met by what is installed;
where they are not, that is an error, never a mixture. A version that needs another environment is installed
by its user and named by its interpreter.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import site
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

import qbench
from qbench.errors import GateError
from qbench.json_object import JsonObject

NAME = "qbench"
WAY_OUT = "install that version in an environment of its own and name its interpreter with --baseline-python"


@dataclass(frozen=True)
class Installed:
    """An environment that has a qbench."""

    python: str
    """Its interpreter."""
    version: str
    """In words, for the reader: `main (0a1b2c3)`."""
    how: str
    """Origin of the environment, in one sentence."""
    folder: Path | None = None
    """Folder in which its package must be found; None: anywhere."""


def here() -> Installed:
    """The environment that runs now."""
    folder = Path(qbench.__file__).resolve().parent
    version = f"qbench {qbench.__version__} of {folder.parent}"
    return Installed(sys.executable, version, f"as it is installed in {sys.prefix}", folder)


def existing(python: str) -> Installed:
    """An environment that its user installed; GateError where there is no such interpreter."""
    found = shutil.which(python)
    if found is None:
        raise GateError(f"no interpreter {python!r}; name the python of an environment that has qbench")
    return Installed(str(Path(found).absolute()), f"the qbench of {python}", "as its user installed it")


def repository() -> Path:
    """The checkout that the running package comes from, or the one around the present folder.

    GateError where neither is a checkout of qbench.
    """
    candidates = [Path(qbench.__file__).resolve().parents[1], *_around(Path.cwd())]
    for folder in candidates:
        if (folder / ".git").exists() and _is_qbench(folder):
            return folder
    raise GateError(
        f"--against needs a git checkout of qbench; this one lies in {candidates[0]}, and the present "
        "folder lies in none. Run it inside a checkout, or use --baseline-python"
    )


@contextlib.contextmanager
def commit_installed(ref: str, root: Path) -> Iterator[Installed]:
    """The commit that `ref` names, ready to run; gone again at the end. GateError where it cannot be had."""
    commit = resolve(ref, root)
    with tempfile.TemporaryDirectory(prefix="qbench-gate-") as made:
        folder = Path(made)
        project = _project(_unpacked(root, commit, ["pyproject.toml"], folder / "source"), ref)
        check_requirements(project["project"], ref)
        python = _environment(folder / "environment")
        packages = _packages_folder(folder / "environment")
        _lay_out(root, commit, project, folder / "source", packages, ref)
        yield Installed(
            str(python),
            f"{ref} ({commit[:12]})",
            f"commit {commit} laid out in a folder of its own, beside the packages that are installed in "
            f"{sys.prefix}: nothing was built or downloaded",
            packages / NAME,
        )


def resolve(ref: str, root: Path) -> str:
    """The commit's full hash."""
    if ref.startswith("-") or not ref.strip():
        raise GateError(f"--against {ref!r} is no commit, branch or tag")
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
    except GateError as error:
        raise GateError(
            f"--against {ref!r} names no commit of {root}; fetch it first (in CI: actions/checkout with "
            "fetch-depth: 0)"
        ) from error


def changed_since_commit(root: Path) -> bool:
    """True where the checkout holds changes of the package that no commit has."""
    return bool(_git(root, "status", "--porcelain", "--", *_source_folders(root)).strip())


def check_requirements(project: JsonObject, ref: str) -> None:
    """GateError where what is installed here does not meet a requirement of the version."""
    unmet = [
        problem for text in project.get("dependencies", []) if (problem := _unmet(str(text))) is not None
    ]
    needed = str(project.get("requires-python", ""))
    present = ".".join(map(str, sys.version_info[:3]))
    if needed and not Requirement(f"python {needed}").specifier.contains(present):
        unmet.append(f"python {needed} (here: {present})")
    if unmet:
        raise GateError(f"{ref} requires what is not installed here: {'; '.join(unmet)}; {WAY_OUT}")


def _unmet(text: str) -> str | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"{text!r}, which is no requirement ({error})"
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    if requirement.url is not None:
        return f"{text} (whether that is what is here cannot be told)"
    try:
        present = distribution(requirement.name).version
    except PackageNotFoundError:
        return f"{text} (not here)"
    return None if requirement.specifier.contains(present, prereleases=True) else f"{text} (here: {present})"


def _project(source: Path, ref: str) -> JsonObject:
    try:
        found = tomllib.loads((source / "pyproject.toml").read_text())
        name, setuptools = found["project"]["name"], found["tool"]["setuptools"]
        version, packages, folders = (
            found["project"]["version"],
            setuptools["packages"],
            setuptools["package-dir"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GateError(
            f"{ref}: its pyproject.toml says not where its packages lie ({error}); {WAY_OUT}"
        ) from error
    if name != NAME or not isinstance(packages, list) or not isinstance(folders, dict) or not version:
        raise GateError(f"{ref}: its pyproject.toml is none of qbench's; {WAY_OUT}")
    return found


def _lay_out(root: Path, commit: str, project: JsonObject, source: Path, packages: Path, ref: str) -> None:
    """Each package folder where Python looks for it, and what importlib.metadata reads of a distribution."""
    folders: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    _unpacked(root, commit, sorted(set(folders.values())), source)
    for package in sorted(folders):  # `qbench` before `qbench.methods`, which goes into it
        target = packages.joinpath(*package.split("."))
        if target.exists():
            raise GateError(f"{ref}: {package} would lie in a folder that is there already; {WAY_OUT}")
        (source / folders[package]).rename(target)
    about = project["project"]
    info = packages / f"{NAME}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {about['version']}\n")
    points = about.get("entry-points", {})
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in named.items())
            for group, named in points.items()
        )
    )


def _environment(folder: Path) -> Path:
    """A virtual environment that sees the packages of this one behind its own; returns its interpreter."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    shown = [path for path in site.getsitepackages() if Path(path).is_dir()]
    if site.ENABLE_USER_SITE:
        shown.append(site.getusersitepackages())
    lines = [f"import site; site.addsitedir({path!r})" for path in shown]
    (_packages_folder(folder) / "qbench_gate.pth").write_text("".join(f"{line}\n" for line in lines))
    return folder / "bin" / "python"


def _packages_folder(environment: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def _unpacked(root: Path, commit: str, paths: list[str], target: Path) -> Path:
    archive = _git(root, "archive", "--format=tar", commit, "--", *paths)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(target, filter="data")
    return target


def _git(root: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateError(f"git {words[0]} in {root}: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise GateError(f"git {words[0]} in {root}: {said}")
    return done.stdout


def _around(folder: Path) -> list[Path]:
    return [folder, *folder.parents]


def _is_qbench(folder: Path) -> bool:
    try:
        return bool(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == NAME)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _source_folders(root: Path) -> list[str]:
    found = tomllib.loads((root / "pyproject.toml").read_text())
    return sorted(set(found["tool"]["setuptools"]["package-dir"].values()))

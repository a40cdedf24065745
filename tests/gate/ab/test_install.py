"""A commit of a small repository of the same layout, laid out; and everything that cannot be."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qbench.errors import GateError
from qbench.gate.ab import install
from qbench.gate.ab.install import check_requirements, commit_installed, existing, here, resolve
from qbench.gate.ab.versions import check_facts, opened
from qbench.gate.command import SAME, _candidate

PYPROJECT = """
[project]
name = "qbench"
version = "9.8.7"
requires-python = ">=3.11"
dependencies = [{dependencies}]
[project.entry-points."qbench.methods"]
extra = "qbench.extra:Extra"
[tool.setuptools]
packages = ["qbench", "qbench.methods"]
package-dir = {{ "qbench" = "qbench", "qbench.methods" = "methods" }}
"""


def git(root: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(root), *settings, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(root: Path, text: str = "", dependencies: str = '"packaging"') -> str:
    for folder in ("qbench", "methods"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / "__init__.py").write_text(f"WHO = {folder + text!r}\n")
    (root / "pyproject.toml").write_text(PYPROJECT.format(dependencies=dependencies))
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "c")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


LOOK = """
import importlib.metadata as m, qbench, qbench.methods, packaging
print(qbench.WHO, qbench.methods.WHO, m.version("qbench"), qbench.__file__)
print(sorted(p.value for p in m.entry_points(group="qbench.methods")))
"""


def test_a_commit_is_laid_out_beside_the_installed_packages(root: Path) -> None:
    first = git(root, "rev-parse", "HEAD")
    commit(root, " later")
    with commit_installed("HEAD~1", root) as installed:
        assert installed.folder is not None
        said = subprocess.run([installed.python, "-P", "-c", LOOK], capture_output=True, text=True, cwd="/")
        assert said.stdout.splitlines()[0] == f"qbench methods 9.8.7 {installed.folder / '__init__.py'}", (
            said.stderr
        )
        assert "qbench.extra:Extra" in said.stdout, "the plugins of the version itself"
        assert installed.version == f"HEAD~1 ({first[:12]})"
        assert "nothing was built or downloaded" in installed.how
        temporary = installed.folder.parents[4]
        assert temporary.name.startswith("qbench-gate-")
    assert not temporary.exists()
    assert git(root, "worktree", "list").count("\n") == 0
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize("ref", ["nowhere", "--help", "", "HEAD:qbench"])
def test_what_names_no_commit_is_refused(ref: str, root: Path) -> None:
    with pytest.raises(GateError, match="no commit"):
        resolve(ref, root)


@pytest.mark.parametrize(
    ("dependency", "said"),
    [
        ("not-a-package-of-this-world>=1", r"not-a-package-of-this-world>=1 \(not here\)"),
        ("packaging>=9999", r"packaging>=9999 \(here: "),
        ("packaging >>1", "which is no requirement"),
        ("packaging @ https://example.org/packaging.whl", "cannot be told"),
    ],
)
def test_a_version_that_requires_something_else_is_refused(dependency: str, said: str, root: Path) -> None:
    commit(root, dependencies=f'"{dependency}"')
    with pytest.raises(GateError, match=said) as caught, commit_installed("HEAD", root):
        pass
    assert "--baseline-python" in str(caught.value)


def test_requirements_of_other_systems_do_not_count() -> None:
    check_requirements({"dependencies": ["nothing-like-it; sys_platform == 'plan9'", "packaging"]}, "r")
    with pytest.raises(GateError, match="python <3"):
        check_requirements({"requires-python": "<3"}, "r")


def test_a_version_whose_layout_is_not_ours_is_refused(root: Path) -> None:
    (root / "pyproject.toml").write_text('[project]\nname = "qbench"\ndynamic = ["version"]\n')
    git(root, "commit", "-qam", "c")
    with pytest.raises(GateError, match="says not where its packages lie"), commit_installed("HEAD", root):
        pass
    git(root, "rm", "-q", "pyproject.toml")
    git(root, "commit", "-qm", "c")
    with pytest.raises(GateError, match="pyproject"), commit_installed("HEAD", root):
        pass


def test_a_dirty_tree_and_an_equal_commit_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import qbench

    monkeypatch.setattr(qbench, "__file__", str(root / "qbench" / "__init__.py"))
    assert _candidate("HEAD", root) == [SAME]
    commit(root, " later")
    assert _candidate("HEAD~1", root) == []
    (root / "methods" / "new.py").write_text("")
    assert _candidate("HEAD~1", root) == [
        f"the candidate is the working tree {root} with changes that are in no commit"
    ]
    monkeypatch.setattr(qbench, "__file__", "/elsewhere/qbench/__init__.py")
    (note,) = _candidate("HEAD", root)
    assert "installed" in note


def test_a_package_outside_a_checkout_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    import qbench

    monkeypatch.setattr(qbench, "__file__", str(tmp_path / "site" / "qbench" / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GateError, match="--against needs a git checkout"):
        install.repository()
    monkeypatch.chdir(root / "qbench")
    assert install.repository() == root


def fake_python(folder: Path, answer: str) -> str:
    """An interpreter whose server says one line and waits for its end."""
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\nimport socket, sys\nsock = socket.socket(fileno=int(sys.argv[-1]))\n"
        f"sock.sendall({answer!r}.encode() + b'\\n')\nsock.recv(1)\n"
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"event": "ready", "seconds": 1, "threads": 1, "modules": []}', "versions from .* on"),
        ('{"event": "ready", "protocol": 0}', "speaks protocol 0, and this version 1"),
        ('{"event": "ready", "protocol": 99}', "run the gate from that version, which is newer"),
    ],
)
def test_another_protocol_is_an_error_that_says_which_versions_work(
    answer: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(GateError, match=said), opened("baseline", existing(fake_python(tmp_path, answer))):
        pass


def test_an_environment_without_qbench_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'No module named qbench.run.server' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(GateError, match="No module named"), opened("baseline", existing(str(script))):
        pass
    with pytest.raises(GateError, match="no interpreter"):
        existing(str(tmp_path / "nothing"))


def test_a_package_that_shadows_the_laid_out_one_is_an_error(tmp_path: Path) -> None:
    from qbench.run.worker.events import Ready
    from qbench.run.worker.messages import PROTOCOL

    installed = install.Installed("python", "v1", "", tmp_path / "qbench")
    facts = Ready(protocol=PROTOCOL, folder=str(tmp_path / "qbench"))
    check_facts(facts, "baseline v1", installed)
    for wrong in (
        replace(facts, folder="/repo/qbench"),
        replace(facts, strange_modules=("qbench.methods.absmax",)),
    ):
        with pytest.raises(GateError, match="PYTHONPATH"):
            check_facts(wrong, "baseline v1", installed)
    mine = here().folder
    assert mine is not None
    assert (mine / "gate" / "ab" / "install.py").samefile(install.__file__)


def test_an_interrupt_leaves_no_folder(root: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), commit_installed("HEAD", root) as installed:
        raise KeyboardInterrupt
    assert installed.folder is not None
    assert not installed.folder.exists()

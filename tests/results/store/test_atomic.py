"""Writing to what is no plain file: a link stays one, a pipe or device is written into and never replaced."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qbench.errors import ResultsError
from qbench.results.store.atomic import write_bytes_atomic

WRITER = """
import sys
from pathlib import Path
from qbench.results.store.atomic import write_bytes_atomic
print("before", flush=True)
write_bytes_atomic(Path(sys.argv[1]), b"content\\n")
print("after", flush=True)
"""


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_into_and_stays_one(linked: bool, tmp_path: Path) -> None:
    pipe, link, read = tmp_path / "pipe", tmp_path / "link", []
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_bytes_atomic(link if linked else pipe, b"content")
    reader.join(10)
    assert read == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_written_into_is_said_and_stays(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place))
        with pytest.raises(ResultsError, match=r"cannot write .*socket: "):
            write_bytes_atomic(place, b"content")
    assert stat.S_ISSOCK(place.stat().st_mode)


def test_the_null_device_is_written_into(tmp_path: Path) -> None:
    """By a link in a folder of the test: were it replaced by mistake, it would be the link."""
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    write_bytes_atomic(link, b"content")
    assert link.is_symlink()
    assert stat.S_ISCHR(link.stat().st_mode)


@pytest.mark.parametrize("old", [b"old", None])
def test_a_link_stays_one_and_its_target_is_replaced(old: bytes | None, tmp_path: Path) -> None:
    """Whole: who has the old file open reads on in it."""
    target, link = tmp_path / "there" / "o.json", tmp_path / "here" / "link"
    for file in (target, link):
        file.parent.mkdir()
    link.symlink_to("../there/o.json")
    if old is None:
        write_bytes_atomic(link, b"new")
    else:
        target.write_bytes(old)
        with target.open("rb") as open_before:
            write_bytes_atomic(link, b"new")
            assert open_before.read() == old
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()].count("o.json") == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("link")
    with pytest.raises(ResultsError, match=r"cannot write .*link: "):
        write_bytes_atomic(link, b"content")
    assert link.is_symlink()


@pytest.mark.parametrize("redirected", [False, True])
def test_standard_output_by_its_name_loses_nothing_that_was_printed(redirected: bool, tmp_path: Path) -> None:
    """`> FILE` too: replacing the file would leave what is printed in one that has no name any more."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    words = [sys.executable, "-c", WRITER, str(tmp_path / "stdout")]
    if redirected:
        with (tmp_path / "out").open("wb") as out:
            subprocess.run(words, stdout=out, check=True)
        said = (tmp_path / "out").read_text()
    else:
        said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said == "before\ncontent\nafter\n"

# SPDX-License-Identifier: Apache-2.0
"""Where a bundle lies while it runs, and that it lies there no longer than that."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeguard.bundle import open_bundle
from edgeguard.bundle.opened import PREFIX
from tests.bundle.making import PARTS, made, process

OPENS = """
import sys, tempfile
from pathlib import Path
from edgeguard.bundle import open_bundle
tempfile.tempdir = sys.argv[2]
opened = open_bundle(Path(sys.argv[1]), unsigned=True)
print(opened.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_what_a_killed_process_left_is_taken_away(
    tmp_path: Path, temporary: Path, key: Ed25519PrivateKey
) -> None:
    """With every crash of a service one more copy of all models would fill the disk."""
    bundle = made(tmp_path, key)
    with process(OPENS, bundle, temporary) as (_, runs):
        with process(OPENS, bundle, temporary) as (doomed, left):
            doomed.kill()
            doomed.wait()
        assert (Path(left) / "a.onnx").read_bytes() == PARTS["a.onnx"]
        opened = open_bundle(bundle, unsigned=True)
        assert set(temporary.iterdir()) == {Path(runs), opened.folder}
        for folder in (Path(runs), opened.folder):
            assert (folder / "a.onnx").read_bytes() == PARTS["a.onnx"]
        opened.close()
    open_bundle(bundle, unsigned=True).close()
    assert list(temporary.iterdir()) == []


def test_nothing_else_is_taken_away(
    tmp_path: Path, temporary: Path, key: Ed25519PrivateKey
) -> None:
    """The temporary folder is everybody's: a link there leads to files that are not ours."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("text")
    (temporary / f"{PREFIX}link").symlink_to(mine)
    (temporary / f"{PREFIX}file").write_text("text")
    os.mkfifo(temporary / f"{PREFIX}pipe")
    if os.geteuid() == 0:
        (temporary / f"{PREFIX}theirs").mkdir()
        os.chown(temporary / f"{PREFIX}theirs", 65534, 65534)
    before = set(temporary.iterdir())
    open_bundle(made(tmp_path, key), unsigned=True).close()
    assert set(temporary.iterdir()) == before
    assert (mine / "file").read_text() == "text"


def test_one_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, temporary: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a folder that is gone keeps nobody from anything."""
    swept, lock = list[Path](), fcntl.flock

    def flock(fd: int, how: int) -> None:
        if not swept:  # another process was faster
            swept.extend(temporary.iterdir())
            swept[0].rmdir()
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    opened = open_bundle(made(tmp_path, key), unsigned=True)
    assert list(temporary.iterdir()) == [opened.folder] != swept
    assert (opened.folder / "a.onnx").read_bytes() == PARTS["a.onnx"]
    opened.close()


def test_many_that_open_at_once_leave_each_other_alone(
    tmp_path: Path, temporary: Path, key: Ed25519PrivateKey
) -> None:
    """One that was just made and has no lock yet looks like one that was left behind."""
    bundle = made(tmp_path, key)

    def one(_: int) -> bytes:
        opened = open_bundle(bundle, unsigned=True)
        data = (opened.folder / "a.onnx").read_bytes()
        opened.close()
        return data

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(400))) == {PARTS["a.onnx"]}
    assert list(temporary.iterdir()) == []

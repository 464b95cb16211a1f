# SPDX-License-Identifier: Apache-2.0
"""Keys lie where only their owner reads them, and are shown to nobody."""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeguard.errors import EdgeguardError
from firmware_bridge import keys
from firmware_bridge.secret import write_secret


def test_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    made = keys.ensure(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.ensure(path) == made
    assert len(made.link) == len(made.operator) == 16
    assert made.link != made.operator
    assert made.link.hex() not in repr(made)
    with pytest.raises(EdgeguardError, match="never overwritten"):
        keys.create(path)


def test_no_two_are_alike(tmp_path: Path) -> None:
    made = [keys.create(tmp_path / str(i)) for i in range(4)]
    assert len({k.link for k in made} | {k.operator for k in made}) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    keys.create(path)
    path.chmod(mode)
    with pytest.raises(EdgeguardError, match=f"mode {mode:o}.*chmod 600"):
        keys.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 4000, "is no JSON"),
        ("[]", "want the keys"),
        ('{"link_key": "00"}', "want the keys"),
        (json.dumps({"link_key": "0" * 31, "operator_key": "1" * 32}), "link_key: want 32 hex"),
        (json.dumps({"link_key": "0" * 32, "operator_key": 3}), "operator_key: want 32 hex"),
        (json.dumps({"link_key": "a" * 32, "operator_key": "a" * 32}), "are the same"),
    ],
)
def test_what_is_wrong_is_named_without_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(EdgeguardError, match=message) as caught:
        keys.load(path)
    assert str(path) in str(caught.value)
    assert "a" * 32 not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match="No such file"):
        keys.load(tmp_path / "none")


def test_who_comes_second_reads_the_keys_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file has its name when it is whole, and neither sees the other's before."""
    path, token_bytes = tmp_path / "keys.json", secrets.token_bytes
    barrier = threading.Barrier(4)

    def together(count: int) -> bytes:
        barrier.wait(20)  # all have seen that there is no file
        return token_bytes(count)

    monkeypatch.setattr(secrets, "token_bytes", together)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(keys.ensure, [path] * 4))
    assert made == [keys.load(path)] * 4
    assert os.listdir(tmp_path) == ["keys.json"]


def test_a_write_that_is_cut_leaves_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(EdgeguardError, match=r"keys\.json: No space left"):
        keys.ensure(tmp_path / "keys.json")
    assert os.listdir(tmp_path) == []


def test_what_is_no_regular_file_holds_no_keys(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(EdgeguardError, match="fifo: is no regular file"):
        keys.ensure(tmp_path / "fifo")
    with pytest.raises(EdgeguardError, match=f"{tmp_path}: Is a directory"):
        keys.ensure(tmp_path)


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_no_secret_goes_into_what_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "secret"
    (tmp_path / "target").write_text("")
    path.symlink_to(tmp_path / "target") if kind == "link" else os.mkfifo(path, 0o644)
    before = path.lstat()
    with pytest.raises(OSError, match=r"is no regular file.*secret'"):
        write_secret(path, b"x")
    assert (tmp_path / "target").read_text() == ""
    assert (path.lstat().st_mode, path.lstat().st_ino) == (before.st_mode, before.st_ino)


def test_a_secret_takes_the_place_of_a_file_that_others_hold_open(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as held:
        write_secret(path, b"new")
        assert held.read() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600

# SPDX-License-Identifier: Apache-2.0
"""Recorded sources: what comes out of them, and the sentence for each way to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame, recorded

X = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)


def frames(path: Path, **arrays: Any) -> list[Frame]:
    np.savez(path, **arrays)
    return list(recorded(str(path), 10.0))


def test_a_stream_gives_its_own_times_boxes_and_signals(tmp_path: Path) -> None:
    box = np.array([[0, 1, 2, 3]] * 3)
    speed = np.array([1.5, np.nan, 3.0])
    found = frames(
        tmp_path / "s.npz", x=X, t_ns=np.array([5, 7, 9]), box=box, **{"signal.speed": speed}
    )
    assert [f.t_ns for f in found] == [5, 7, 9]
    assert [f.box for f in found] == [(0, 1, 2, 3)] * 3
    assert (found[0].signals, found[2].signals) == ({"speed": 1.5}, {"speed": 3.0})
    assert all(np.array_equal(f.image, x) for f, x in zip(found, X, strict=True))


def test_without_times_frames_come_at_the_cameras_rate(tmp_path: Path) -> None:
    found = frames(tmp_path / "s.npz", x=X[..., 0])
    assert [f.t_ns for f in found] == [0, 100_000_000, 200_000_000]
    assert (found[0].box, found[0].signals, found[0].image.shape) == (None, {}, (4, 5))


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"y": X}, "x: want frames, uint8"),
        ({"x": X.astype(float)}, "x: want frames, uint8"),
        ({"x": X, "box": np.zeros(3, int)}, r"box: want integers \[3, 4\], got int64 \[3\]"),
        (
            {"x": X, "box": np.zeros((2, 4), int)},
            r"box: want integers \[3, 4\], got int64 \[2, 4\]",
        ),
        ({"x": X, "box": np.zeros((3, 4))}, r"box: want integers .*, got float64"),
        ({"x": X, "t_ns": np.zeros(3)}, r"t_ns: want integers \[3\], got float64"),
        ({"x": X, "t_ns": np.int64(0)}, r"t_ns: want integers \[3\], got int64 \[\]"),
        ({"x": X, "signal.v": np.array(["a"] * 3)}, r"signal.v: want numbers \[3\], got <U1"),
        ({"x": X, "signal.v": np.zeros(2)}, r"signal.v: want numbers \[3\], got float64 \[2\]"),
        ({"x": np.array([{}])}, "cannot be read as npz"),
    ],
)
def test_streams_that_are_none(tmp_path: Path, arrays: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EdgeguardError, match=rf"s\.npz: {complaint}"):
        frames(tmp_path / "s.npz", **arrays)


def write_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


def cut(path: Path) -> None:
    np.savez_compressed(path, x=X)
    path.write_bytes(path.read_bytes()[:-40])


def damage(path: Path) -> None:
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 256, (9, 9, 9), np.uint8))
    content = bytearray(path.read_bytes())
    content[200:300] = bytes(100)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write",
    [write_npy, cut, damage, Path.touch, lambda p: p.write_bytes(b"PK\x03\x04 no zip")],
    ids=["npy", "cut", "damaged", "empty", "no zip"],
)
def test_files_that_are_no_npz(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    write(tmp_path / "s.npz")
    with pytest.raises(EdgeguardError, match=r"s\.npz: cannot be read as npz: ."):
        list(recorded(str(tmp_path / "s.npz"), 10.0))


def refused(*_: Any, **__: Any) -> Any:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("call", ["is_dir", "iterdir"])
def test_a_folder_that_is_closed_to_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    pytest.importorskip("cv2", reason="reads pictures")
    monkeypatch.setattr(Path, call, refused)
    with pytest.raises(EdgeguardError, match=r": Permission denied$"):
        list(recorded(str(tmp_path), 10.0))


def test_a_file_that_is_closed_to_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "s.npz", x=X)
    monkeypatch.setattr(np, "load", refused)
    with pytest.raises(EdgeguardError, match=r"cannot be read as npz: Permission denied$"):
        list(recorded(str(tmp_path / "s.npz"), 10.0))

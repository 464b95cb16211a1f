# SPDX-License-Identifier: Apache-2.0
"""Recorded sources: what comes out of them, and the sentence for each way to be wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.intake import sources
from edgeguard.intake.decoder import confined
from edgeguard.intake.sources import Frame, Stamps, grabbed, recorded, reopened

HOURS = 10**14  # a clock that began long before the drive
X = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)


def frames(path: Path, **arrays: Any) -> list[Frame]:
    np.savez(path, **arrays)
    return list(recorded(str(path), 10.0))


def test_a_stream_gives_its_own_times_boxes_and_signals(tmp_path: Path) -> None:
    box = np.array([[0, 1, 2, 3]] * 3)
    speed = np.array([1.5, np.nan, 3.0])
    found = frames(
        tmp_path / "s.npz",
        x=X,
        t_ns=HOURS + np.array([5, 7, 9]),
        box=box,
        **{"signal.speed": speed},
    )
    assert [f.t_ns for f in found] == [0, 2, 4]
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
        (
            {"x": X, "t_ns": np.array([0, 5, 4])},
            r"t_ns: frame 2 is -1e-09 s after the one before; want 0 to 3600 s",
        ),
        ({"x": X, "t_ns": np.array([0, 0, 4 * 10**12])}, r"t_ns: frame 2 is 4000 s after"),
        ({"x": X, "t_ns": np.array([0, 2**63, 2**64 - 1], np.uint64)}, r"t_ns: frame 1 is 9\.2"),
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


def video(path: Path, count: int, rate_hz: float = 10.0) -> Path:
    """Noise, which takes room in a file: a third of it is a third of its frames."""
    cv2 = pytest.importorskip("cv2", reason="videos are written with OpenCV (extra images)")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, (64, 48))
    for image in np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), np.uint8):
        writer.write(image)
    writer.release()
    return path


def third(content: bytes) -> bytes:
    return content[: len(content) // 3]


def without_middle(content: bytes) -> bytes:
    half = len(content) // 2
    return content[: half - 6000] + bytes(12000) + content[half + 6000 :]


@pytest.mark.parametrize("change", [third, without_middle])
def test_a_video_that_is_shorter_than_it_says(
    tmp_path: Path, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    whole, cut = video(tmp_path / "a.avi", 60), tmp_path / "cut.avi"
    cut.write_bytes(change(whole.read_bytes()))
    found = list(confined(str(cut), 10.0))
    assert 0 < len(found) < 60
    said = f"{cut}: says that it holds 60 frames, but gave {len(found)}: it is cut or damaged"
    assert [text.startswith(said) for text in caplog.messages] == [True]
    caplog.clear()
    assert len(list(confined(str(whole), 10.0))) == 60
    frames = confined(str(cut), 10.0)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert caplog.messages == []  # who stops reading learns nothing about the rest


@pytest.mark.parametrize(("own", "judged", "told"), [(30.0, 10.0, 1), (29.97, 30.0, 0)])
def test_a_video_of_another_rate_than_the_cameras(
    tmp_path: Path, own: float, judged: float, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = video(tmp_path / "a.avi", 3, own)
    assert len(list(confined(str(file), judged))) == 3
    said = f"{file}: was recorded at 30 frames a second, but is judged at 10; set rate_hz"
    assert [text.startswith(said) for text in caplog.messages] == [True] * told


def test_a_recording_without_a_frame_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz", x=X[:0])
    for file in (video(tmp_path / "none.avi", 0), tmp_path / "none.npz"):
        for opened in (recorded, confined):
            with pytest.raises(EdgeguardError, match=f"{file.name}: holds no frame that can be"):
                list(opened(str(file), 10.0))


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


# --- an attached camera ---

S, MS = 1_000_000_000, 1_000_000


def stamps(said_ns: list[int], now_ns: list[int]) -> list[int]:
    clock = Stamps()
    return [clock.taken(said, now) for said, now in zip(said_ns, now_ns, strict=True)]


def test_a_frame_is_as_old_as_the_driver_says() -> None:
    """Of a driver that means CLOCK_MONOTONIC; also one that waited for a minute."""
    now = [HOURS, HOURS + 100 * MS, HOURS + 200 * MS, HOURS + 60 * S, HOURS + 60 * S + 100 * MS]
    said = [now[0] - 30 * MS, now[1] - 30 * MS, now[2] - 30 * MS, now[2] + 70 * MS, now[4] + 1]
    assert stamps(said, now) == [now[0], said[1], said[2], said[3], now[4]]


@pytest.mark.parametrize(
    "said",
    [
        lambda i, now: 0,
        lambda i, now: -MS,
        lambda i, now: i * 100 * MS,  # since the camera was opened
        lambda i, now: now + 1_700_000_000 * S,  # since 1970
        lambda i, now: now - 6 * S,
        lambda i, now: HOURS - MS,  # it never rises
    ],
    ids=["nothing", "an error", "of the stream", "of the wall", "too old", "standing still"],
)
def test_a_driver_that_means_another_clock_is_not_believed(said: Callable[..., int]) -> None:
    now = [HOURS + i * 100 * MS for i in range(20)]
    assert stamps([said(i, t) for i, t in enumerate(now)], now) == now


class Shaky:
    """A camera as OpenCV hands it out; reads of these numbers fail."""

    def __init__(self, failing: set[int], late_ns: int) -> None:
        self._failing, self._late_ns, self._reads = failing, late_ns, 0

    def read(self) -> tuple[bool, Any]:
        self._reads += 1
        return self._reads not in self._failing, np.full((4, 4, 3), self._reads, np.uint8)

    def get(self, what: int) -> float:
        return (time.monotonic_ns() - self._late_ns) / 1e6


def test_a_read_that_fails_now_and_then_ends_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2", reason="cameras are read with OpenCV")
    monkeypatch.setattr(sources, "READ_AGAIN_S", 0.001)
    found = list(grabbed(Shaky({2, 4, 5, 7, 8, 9}, late_ns=S)))
    assert [int(f.image[0, 0, 0]) for f in found] == [1, 3, 6]
    assert time.monotonic_ns() - found[-1].t_ns > S, "as old as its driver says"


def test_a_camera_that_comes_back_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "OPEN_AGAIN_S", (0.0, 0.0))
    one = Frame(X[0], 0, None, {})
    lives = iter([[one], [], [one, one], [], [], [one]])

    def opened() -> Iterator[Frame]:
        yield from next(lives)
        raise EdgeguardError("unplugged")

    frames = reopened("camera:0", opened)
    assert [next(frames) for _ in range(3)] == [one] * 3
    with pytest.raises(EdgeguardError, match=r"^unplugged$"):  # twice nothing
        next(frames)
    assert caplog.messages == ["camera:0: no frames: unplugged; it is opened again"] * 4
    with pytest.raises(EdgeguardError, match=r"^none$"):  # it was never there
        next(reopened("camera:1", none_there))


def none_there() -> Iterator[Frame]:
    raise EdgeguardError("none")
    yield

# SPDX-License-Identifier: Apache-2.0
"""F28: the bytes of a recorded source are decoded elsewhere, and end in frames or in a sentence."""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import _isolation, sandbox
from edgeguard.errors import EdgeguardError
from edgeguard.intake import decoder
from edgeguard.intake.decoder import camera, confined
from edgeguard.intake.sources import recorded

cv2 = pytest.importorskip("cv2", reason="pictures are read with OpenCV (extra images)")
MUTATIONS = int(os.environ.get("EDGEGUARD_MUTATIONS", "500"))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rows, columns = np.mgrid[:24, :32].astype(np.uint8)
    return np.ascontiguousarray(np.stack([rows * 9, columns * 7, rows ^ columns], axis=-1))


def same(source: Path) -> None:
    here, there = list(recorded(str(source), 10.0)), list(confined(str(source), 10.0))
    assert len(here) == len(there) > 0
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one.image, other.image)
        assert one[1:] == other[1:]


def test_frames_are_those_that_the_file_holds(tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("a.png", "b.jpg", "c.bmp"):
        cv2.imwrite(str(tmp_path / "folder" / name), picture)
    same(tmp_path / "folder")
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
    for shift in range(5):
        writer.write(np.roll(picture, shift, axis=1))
    writer.release()
    same(tmp_path / "v.avi")
    arrays: dict[str, Any] = {"signal.speed": np.array([1.5, 2.0]), "t_ns": np.array([5, 7])}
    np.savez(tmp_path / "s.npz", x=np.stack([picture] * 2), box=np.ones((2, 4), int), **arrays)
    same(tmp_path / "s.npz")


def test_its_words_are_those_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere.avi", "empty"):
        with pytest.raises(EdgeguardError) as here:
            list(recorded(str(tmp_path / name), 10.0))
        with pytest.raises(EdgeguardError) as there:
            list(confined(str(tmp_path / name), 10.0))
        assert str(here.value) == str(there.value)


def test_a_reader_that_stops_leaves_no_process_and_no_descriptor(
    tmp_path: Path, picture: np.ndarray
) -> None:
    np.savez(tmp_path / "s.npz", x=np.stack([picture] * 500))
    before = set(os.listdir("/proc/self/fd"))
    frames = confined(str(tmp_path / "s.npz"), 10.0)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert set(os.listdir("/proc/self/fd")) == before


def test_what_is_never_read_starts_nothing(tmp_path: Path, picture: np.ndarray) -> None:
    np.savez(tmp_path / "s.npz", x=np.stack([picture]))
    before = set(os.listdir("/proc/self/fd"))
    frames = confined(str(tmp_path / "s.npz"), 10.0)
    assert set(os.listdir("/proc/self/fd")) == before
    del frames


def test_what_the_kernel_does_not_give_is_logged_once(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    np.savez(tmp_path / "s.npz", x=np.stack([picture] * 2))
    absent = (
        "import errno\n"
        "def absent(*_): raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))\n"
        "import os; decoder.sandbox._isolation.seccomp = absent"
    )
    monkeypatch.setattr(decoder, "_PROGRAM", patched(absent))
    assert len(list(confined(str(tmp_path / "s.npz"), 10.0))) == 2
    (line,) = caplog.messages
    assert "seccomp: Function not implemented" in line


LIAR = (
    "import sys, json, os, struct, time; o = json.loads(sys.argv[1])\n"
    "def say(text, pixels=b''):\n"
    "    os.write(o['mouth'], struct.pack('<I', len(text)) + text + pixels)\n"
)
GOOD = """{"shape": [2, 2], "t_ns": 1, "box": null, "signals": {}}"""
FORGED: dict[str, Any] = {"box": [0, 0, 1, 1], "signals": {"engaged": 0, "speed": 60}}


def frame(shape: list[int], t_ns: int = 0, pixels: bool = True) -> str:
    """A line of the liar's: a frame that is well formed, and says more than there is to see."""
    text = json.dumps({"shape": shape, "t_ns": t_ns} | FORGED).encode()
    return f"say({text!r}, bytes({math.prod(shape) if pixels else 0}))\n"


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        ("os.write(o['mouth'], b'xx')", "was ended by itself with exit code 0"),
        ("os.write(o['mouth'], b'\\xff' * 8)", "talks nonsense"),
        ("say(b'[' * 60000)", "talks nonsense"),
        ("say(b'[]')", "talks nonsense"),
        ("say(b'{}')", "talks nonsense"),
        (f"say({GOOD.replace('[2, 2]', '[99999, 99999]').encode()!r})", "talks nonsense"),
        (f"say({GOOD.replace('[2, 2]', '[-2, -2]').encode()!r})", "talks nonsense"),
        (f"say({GOOD.replace('null', '[1]').encode()!r})", "talks nonsense"),
        (f"say({GOOD.encode()!r}, b'xy')", "ended in a frame"),
        ("time.sleep(60)", "no frame for 0.3 s"),
        ("os.close(o['mouth']); time.sleep(60)", "was ended by SIGKILL"),
        ("say(b'{\"missing\": [1]}'); say(b'{\"missing\": [1]}')", "talks nonsense"),
        ("say(b'{\"warning\": 1}'); " * 11, "talks nonsense"),
        (f"say({GOOD.replace('1', '-1').encode()!r})", "talks nonsense"),
        (f"say({GOOD.replace('1', str(10**13)).encode()!r})", "talks nonsense"),
        (frame([2, 2], 5) + frame([2, 2], 4, pixels=False), "talks nonsense"),
        ('say(b\'{"lacks": "secrets"}\')', "talks nonsense"),
        ('say(b\'{"lacks": ["cv2"]}\')', "talks nonsense"),
        ('say(b\'{"error": "a\\\\nb\\\\u001b[2Jc"}\')', r"^a b \[2Jc$"),
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("os.abort()", "was ended by SIGABRT"),
    ],
)
def test_what_a_decoder_says_is_not_believed_unchecked(
    monkeypatch: pytest.MonkeyPatch, lie: str, complaint: str
) -> None:
    monkeypatch.setattr(decoder, "_PROGRAM", LIAR + lie)
    if "0.3" in complaint:
        monkeypatch.setattr(decoder, "SILENCE_S", 0.3)
    with pytest.raises(EdgeguardError, match=complaint):
        list(confined("source", 10.0))


@pytest.mark.parametrize(
    ("lies", "complaint"),
    [
        (frame([7, 9, 3], pixels=False), "unwanted 9 x 7"),
        (frame([8192, 8192, 3], pixels=False), "camera:3: gives 8192 x 8192; if it may"),
        (frame([16384, 16384, 3], pixels=False), "talks nonsense"),
        (frame([2, 2, 4], pixels=False), "talks nonsense"),
        (frame([2, 2], pixels=False), "talks nonsense"),
        (frame([2, 2, 3]) + frame([2, 4, 3], pixels=False), "its frames have become 4 x 2"),
    ],
)
def test_the_size_of_a_live_frame_is_judged_before_its_pixels_are_there(
    monkeypatch: pytest.MonkeyPatch, lies: str, complaint: str
) -> None:
    def fits(width: int, height: int) -> None:
        raise EdgeguardError(f"unwanted {width} x {height}")

    monkeypatch.setattr(decoder, "_PROGRAM", f"{LIAR}{lies}time.sleep(60)")
    monkeypatch.setattr(decoder, "SILENCE_S", 5.0)
    with pytest.raises(EdgeguardError, match=complaint):
        list(camera(3, fits=fits if "unwanted" in complaint else None))


@pytest.mark.parametrize("source", ["camera", "drive.avi", "drive.npz"])
def test_who_decodes_pictures_does_not_speak_for_the_vehicle(
    monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(decoder, "_PROGRAM", LIAR + frame([2, 2, 3]))
    found = next(camera(3) if source == "camera" else confined(source, 10.0))
    recorded_too = (0, 0, 1, 1), {"engaged": 0.0, "speed": 60.0}
    assert (found.box, found.signals) == (recorded_too if "npz" in source else (None, {}))


@pytest.mark.parametrize("t_ns", [2**60, 10**30, -(10**30)])
def test_no_live_frame_is_from_the_future(monkeypatch: pytest.MonkeyPatch, t_ns: int) -> None:
    monkeypatch.setattr(decoder, "_PROGRAM", LIAR + frame([2, 2, 3], t_ns))
    assert next(camera(3)).t_ns <= min(t_ns, time.monotonic_ns())


def patched(lines: str) -> str:
    """The decoder's program, with these lines of Python before it begins."""
    start, _, _ = decoder._PROGRAM.partition("from edgeguard.intake.decoder import main")
    return f"{start}from edgeguard.intake import decoder\n{lines}\nsys.exit(decoder.main(o))"


def test_a_library_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture: np.ndarray
) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), picture)
    monkeypatch.setattr(decoder, "_PROGRAM", patched("sys.modules['cv2'] = None"))
    with pytest.raises(ModuleNotFoundError) as told:
        list(confined(str(tmp_path), 10.0))
    assert told.value.name == "cv2"


def test_a_long_video_gives_its_decoder_no_more_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body = """
import resource
from edgeguard.errors import EdgeguardError
def recorded(source, rate_hz):
    raise EdgeguardError(str(resource.getrlimit(resource.RLIMIT_AS)[0]))
    yield
decoder.recorded = recorded
"""
    monkeypatch.setattr(decoder, "_PROGRAM", patched(body))

    def limit(name: str) -> int:
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**35)
        with pytest.raises(EdgeguardError) as told:
            list(confined(str(tmp_path / name), 10.0))
        return int(str(told.value))

    assert limit("long.avi") < 2**35 < limit("long.npz")


def test_it_is_confined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Seen from inside, through the words that it says."""
    if sandbox.lacking() and not sandbox.lacking()[-1].startswith("a limit"):
        pytest.skip(f"needs: {sandbox.lacking()[0]}")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "source").mkdir()
    body = f"""
from edgeguard.errors import EdgeguardError
import os, socket
def recorded(source, rate_hz):
    found = []
    for attempt in (lambda: open({str(tmp_path / "secret")!r}), socket.socket, os.fork):
        try:
            attempt()
        except OSError as error:
            found.append(error.errno)
    raise EdgeguardError(str(found))
    yield
decoder.recorded = recorded
"""
    monkeypatch.setattr(decoder, "_PROGRAM", patched(body))
    with pytest.raises(EdgeguardError, match=r"^\[13, 1, 1\]$"):
        list(confined(str(tmp_path / "source"), 10.0))


@pytest.mark.skipif(_isolation.landlock_abi() == 0, reason="needs: Landlock")
@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ("open('/etc/passwd')", ["sandbox_violation"]),
        ("try: open('/etc/passwd')\n    except OSError: raise EdgeguardError('odd')",
         ["sandbox_violation"]),
        ("os.kill(os.getpid(), 31)", ["sandbox_violation"]),
        ("os.kill(os.getpid(), 11)", []),
        ("open('/nowhere')", []),
        ("raise EdgeguardError('no video')", []),
    ],
)  # fmt: skip
def test_a_decoder_that_breaks_a_rule_is_a_security_event(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, events: list[str]
) -> None:
    body = "import os\nfrom edgeguard.errors import EdgeguardError\n"
    body += f"def recorded(source, rate_hz):\n    {lines}\n    yield\ndecoder.recorded = recorded\n"
    monkeypatch.setattr(decoder, "_PROGRAM", patched(body))
    found: list[str] = []
    with pytest.raises(EdgeguardError):
        list(confined(str(tmp_path), 10.0, found.append))
    assert found == events


@pytest.mark.skipif(_isolation.landlock_abi() == 0, reason="needs: Landlock")
def test_of_all_devices_a_cameras_process_uses_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full stands for a camera: a device that is there everywhere."""
    body = """
import fcntl, os, termios
from pathlib import Path
import numpy as np
from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame
decoder._device = lambda number: Path("/dev/full")
def tried(path, flags):
    try:
        os.close(os.open(path, flags))
        return 0
    except OSError as error:
        return error.errno
def live(number, size):
    camera = os.open("/dev/full", os.O_RDWR | os.O_NONBLOCK)
    pixels = np.frombuffer(os.read(camera, 12), np.uint8).reshape(2, 2, 3)
    try:
        fcntl.ioctl(camera, termios.TCGETS, bytes(64))
    except OSError as error:
        asked = error.errno
    yield Frame(pixels, 2**60, None, {})
    others = ("/dev/ptmx", "/dev/fuse", "/dev/tty", "/dev/zero", "/tmp/edgeguard-new")
    found = [tried(path, os.O_RDWR | os.O_CREAT) for path in others]
    raise EdgeguardError(f"{number} {asked} {found} {tried('/dev/ptmx', os.O_RDONLY)}")
decoder.live = live
"""
    monkeypatch.setattr(decoder, "_PROGRAM", patched(body))
    frames = camera(7)
    first = next(frames)
    assert first.image.tolist() == np.zeros((2, 2, 3)).tolist()
    assert first.t_ns <= time.monotonic_ns(), "nothing comes from the future"
    with pytest.raises(EdgeguardError, match=r"^7 25 \[(13, ){4}13\] 13$"):
        next(frames)


def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgeguardError, match="camera:987: neither a video nor a camera"):
        next(camera(987))


Mutate = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def repeat(rng: random.Random, data: bytes) -> bytes:
    at, count = rng.randrange(len(data)), rng.randint(1, 64)
    return data[:at] + data[at : at + count] * rng.randint(2, 50) + data[at:]


TOLERANT = """
real = decoder.recorded
def recorded(*given):
    import cv2, numpy
    read = cv2.imread
    def tolerant(*file):
        image = read(*file)
        return numpy.zeros((1, 1, 3), "uint8") if image is None else image
    cv2.imread = tolerant
    return real(*given)
decoder.recorded = recorded
"""


def test_mutated_pictures_end_in_frames_or_in_a_sentence(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One decoder for many, which goes on after a refused picture, and is started anew when one
    kills it. EDGEGUARD_MUTATIONS says how many there are."""
    rng = random.Random(1)
    originals = {s: cv2.imencode(s, picture)[1].tobytes() for s in (".jpg", ".png", ".tiff")}
    originals |= {s: cv2.imencode(s, picture)[1].tobytes() for s in (".bmp", ".webp", ".ppm")}
    for number in range(MUTATIONS):
        suffix = rng.choice(list(originals))
        mutated = rng.choice((flip, cut, repeat))(rng, originals[suffix])
        (tmp_path / f"{number:06}{suffix}").write_bytes(mutated)
    monkeypatch.setattr(decoder, "_PROGRAM", patched(TOLERANT))
    refused, decoded, killed = 0, 0, []
    remaining = sorted(tmp_path.iterdir())
    while remaining:
        done = 0
        try:
            for frame in confined(str(tmp_path), 10.0):
                done += 1
                refused += frame.image.size == 3
                decoded += frame.image.size > 3
        except EdgeguardError as error:
            killed.append(str(error))
            done += 1  # the one that did it
        for file in remaining[:done]:
            file.unlink()
        remaining = remaining[done:]
        assert len(killed) <= MUTATIONS // 10, killed[-1]
    assert refused + decoded + len(killed) == MUTATIONS
    assert min(refused, decoded) > MUTATIONS // 10

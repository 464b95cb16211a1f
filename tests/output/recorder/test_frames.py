# SPDX-License-Identifier: Apache-2.0
"""Frames in a log: only if asked, only where they may be, and no tick waits for them."""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from mcap.reader import make_reader

from edgeguard.errors import EdgeguardError
from edgeguard.explain import explain
from edgeguard.output.recorder import Recorder
from edgeguard.output.recorder.log_reader import Log
from edgeguard.output.recorder.topics import FRAMES, NOTES
from edgeguard.output.recorder.verify import State, verify
from edgeguard.replay import replay
from tests.faults.bench import POLICY, Bench, camera_guard, write_policy
from tests.output.recorder.conftest import wait_for
from tests.output.recorder.test_box import pair

FULL = '\n[telemetry]\ndisclosure = "full"\n'
SECOND_NS = 1_000_000_000


def frames_of(log: Path, key: Path | None = None) -> list[dict[str, Any]]:
    return [json.loads(entry.data) for entry in Log(log, key).entries(FRAMES)]


def pixels_of(frame: dict[str, Any]) -> npt.NDArray[np.uint8]:
    data = np.frombuffer(base64.b64decode(frame["data"]), np.uint8)
    return data.reshape(frame["height"], frame["width"], -1)


def noise(seed: int, *shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Bench]:
    """A guard whose disclosure is full; not recording, not armed."""
    made = Bench(write_policy(tmp_path, POLICY + FULL))
    yield made
    made.guard.close()


def recording(bench: Bench, log: Path, **more: Any) -> Recorder:
    return bench.guard.record(log, key=log.with_name("key.json"), frames_hz=10.0, **more)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeguard", "run", "camera.toml", "--source", "drive.npz",
         "--signal", "speed=20", "--sink", os.devnull, "--record", "flight.mcap", "--record-key",
         "key.json", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def drive(tmp_path: Path) -> npt.NDArray[np.uint8]:
    """A stream of 20 pictures at 10 Hz beside a guard.toml that says nothing of disclosure."""
    camera_guard(tmp_path, "none").close()  # writes the policy
    images, boxes = noise(0, 20, 48, 64, 3), np.tile([8, 4, 32, 32], (20, 1))
    np.savez(tmp_path / "drive.npz", x=images, box=boxes)
    return images


def test_none_unless_asked_and_none_in_the_open(
    drive: npt.NDArray[np.uint8], tmp_path: Path, log: Path
) -> None:
    done = run(tmp_path, "--record-frames")
    assert done.returncode == 2
    assert 'camera.toml: telemetry.disclosure: is "label", so no frames are recorded' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not log.exists()
    assert run(tmp_path).returncode == 0
    assert frames_of(log) == []
    assert not any(bytes(image[0]) in log.read_bytes() for image in drive)


def test_as_the_camera_gave_them(
    drive: npt.NDArray[np.uint8], tmp_path: Path, log: Path, pinned: Callable[[], str]
) -> None:
    """And a log with frames is verified, replayed and explained as one without."""
    with (tmp_path / "camera.toml").open("a") as file:
        file.write(FULL)
    done = run(tmp_path, "--record-frames", "1000")
    assert done.returncode == 0, done.stderr
    found = frames_of(log)
    assert [f["t_ns"] for f in found] == [n * SECOND_NS // 10 for n in range(20)]
    assert [f["number"] for f in found] == list(range(20))
    assert all((pixels_of(f) == image).all() for f, image in zip(found, drive, strict=True))
    assert {(f["encoding"], f["step"], f["frame_id"]) for f in found} == {("bgr8", 192, "front")}
    assert found[0]["box"] == [8, 4, 32, 32]
    assert verify(log, pinned()).state is State.CLOSED
    outcome = replay(log)
    assert (outcome.decisions, outcome.difference) == (191, None)
    assert explain(log).decisions == 191
    with log.open("rb") as file:  # as any reader of MCAP sees it
        messages = list(make_reader(file).iter_messages(topics=[FRAMES]))
    assert {schema.name for schema, _, _ in messages if schema} == {"foxglove.RawImage"}
    assert len(messages) == 20


def test_so_many_a_second_also_when_the_clock_is_set(shown: Bench, log: Path) -> None:
    recorder = recording(shown, log)  # at 10 Hz
    assert recorder.frames is not None
    shown.nominal()
    for ms in (0, 30, 99, 100, 160, 260, 300, 50, 60, 149, 150):
        recorder.frames.saw("front", noise(ms, 4, 4, 3), "BGR", ms * 1_000_000)
        recorder.pace()
    shown.guard.close()
    assert [f["t_ns"] // 1_000_000 for f in frames_of(log)] == [0, 100, 260, 50, 150]


def test_a_stamp_of_another_library_is_a_stamp(shown: Bench, log: Path) -> None:
    """As it is for `Guard.observe`; what is none is refused here, and ends nothing."""
    recorder = recording(shown, log)
    assert recorder.frames is not None
    shown.nominal()
    stamps = (np.int64(0), np.uint64(SECOND_NS), 2 * SECOND_NS)
    for n, t_ns in enumerate(stamps):
        recorder.frames.saw("front", noise(n, 4, 4, 3), "BGR", t_ns)  # type: ignore[arg-type]
        recorder.pace()
        for none in (0.5, 2**63):
            with pytest.raises(ValueError, match="t_ns"):
                recorder.frames.saw("front", noise(n, 4, 4, 3), "BGR", none)  # type: ignore[arg-type]
    shown.guard.close()
    assert [f["t_ns"] for f in frames_of(log)] == [0, SECOND_NS, 2 * SECOND_NS]


def test_frames_that_end_while_the_rest_is_recorded_are_told(
    shown: Bench, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = recording(shown, log)
    assert recorder.frames is not None
    shown.nominal()
    with caplog.at_level(logging.WARNING):
        recorder.frames.saw(b"front", noise(0, 4, 4, 3), "BGR", 0)  # type: ignore[arg-type]
        wait_for("it is told", lambda: "no more frames are recorded: " in caplog.text)
        shown.guard.close()
    assert "not closed" not in caplog.text
    assert replay(log).decisions == shown.ticks


def test_encrypted_whatever_the_disclosure(silent: Bench, tmp_path: Path, log: Path) -> None:
    mine = pair(tmp_path, "mine", X25519PrivateKey)
    recorder = recording(silent, log, recipient=mine.with_suffix(".pem.pub"))
    assert recorder.frames is not None
    silent.nominal()
    image = noise(0, 48, 64, 3)
    recorder.frames.saw("front", image, "BGR", 0)
    silent.guard.close()
    assert [(pixels_of(f) == image).all() for f in frames_of(log, mine)] == [True]
    assert replay(log, mine).decisions == silent.ticks
    content = log.read_bytes()
    with log.open("rb") as file:
        content += b"".join(m.data for _, _, m in make_reader(file).iter_messages())
    assert bytes(image[0]) not in content
    assert base64.b64encode(image.tobytes())[:80] not in content


@pytest.mark.parametrize(
    ("pixel_format", "encoding", "shape", "height"),
    [("NV12", "nv12", (12, 6), 8), ("YUYV", "yuyv", (8, 6, 2), 8), ("GRAY", "mono8", (8, 6), 8)],
)
def test_formats(
    shown: Bench, log: Path, pixel_format: str, encoding: str, shape: tuple[int, ...], height: int
) -> None:
    recorder, image = recording(shown, log), noise(1, *shape)
    assert recorder.frames is not None
    recorder.frames.saw("front", image, pixel_format, -5)
    shown.nominal()
    shown.guard.close()
    (frame,) = frames_of(log)
    assert (frame["encoding"], frame["height"], frame["width"]) == (encoding, height, 6)
    assert base64.b64decode(frame["data"]) == image.tobytes()


def test_they_stay_within_the_limit(
    shown: Bench, tmp_path: Path, log: Path, pinned: Callable[[], str]
) -> None:
    recorder = recording(shown, log, keep_mb=1.0)
    assert recorder.frames is not None
    shown.nominal()
    for n in range(300):
        recorder.frames.saw("front", noise(n, 60, 80, 3), "BGR", n * SECOND_NS // 10)
        recorder.pace()
        for _ in range(40):
            shown.tick()
    shown.guard.close()
    files = sorted(tmp_path.glob("flight-*.mcap"))
    assert files[0].name != "flight-00001.mcap"
    assert sum(f.stat().st_size for f in files) <= 1.15e6
    numbers = [f["number"] for file in files for f in frames_of(file)]
    assert numbers == sorted(set(numbers)) and len(numbers) > 10
    for file in files:
        assert verify(file, pinned()).state is State.CLOSED
        assert replay(file).difference is None
    notes = [entry.data for entry in Log(files[0]).entries(NOTES)]
    assert b"frames are missing from here on: this file is full" in notes[0]


def test_they_are_as_long_as_they_are_in_the_file(shown: Bench, tmp_path: Path, log: Path) -> None:
    """A frame that packs well fits, though its pixels alone are more than the file may hold."""
    recorder = recording(shown, log, keep_mb=1.0)
    assert recorder.frames is not None
    shown.nominal()
    image = np.zeros((200, 300, 3), np.uint8)
    image[:30] = noise(0, 30, 300, 3)
    for n in range(3):
        recorder.frames.saw("front", image, "BGR", n * SECOND_NS // 10)
        recorder.pace()
    shown.guard.close()
    (file,) = tmp_path.glob("flight-*.mcap")
    assert [f["number"] for f in frames_of(file)] == [0, 1, 2]
    assert list(Log(file).entries(NOTES)) == []
    assert 90_000 < file.stat().st_size < 125_000


def test_those_that_can_never_fit_are_told_once(
    shown: Bench, tmp_path: Path, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While it runs, to whoever gave the limit."""
    recorder = recording(shown, log, keep_mb=1.0)
    assert recorder.frames is not None
    shown.nominal()
    with caplog.at_level(logging.WARNING):
        recorder.frames.saw("front", noise(0, 480, 640, 3), "BGR", 0)
        wait_for("it is told", lambda: "frames are left out" in caplog.text)
        while len(list(tmp_path.glob("flight-*.mcap"))) < 2:  # each file leaves them out
            shown.run(1000, "twenty")
            wait_for("it is written", lambda: recorder.tape.waiting == 0)
        recorder.frames.saw("front", noise(1, 480, 640, 3), "BGR", SECOND_NS)
        shown.guard.close()
    (said,) = (r.getMessage() for r in caplog.records if "left out" in r.getMessage())
    found = re.search(r"one takes (\d+) kB, and --keep-mb 1 makes files of 125 kB; (.*)", said)
    assert found is not None and said.startswith(f"{tmp_path}/flight-00001.mcap: ")
    assert 900 < int(found[1]) < 1230
    assert found[2] == f"give --keep-mb {math.ceil(int(found[1]) * 16 / 1000) + 1} or more"
    files = list(tmp_path.glob("flight-*.mcap"))
    assert not any(frames_of(file) for file in files)
    notes = [entry.data for file in files for entry in Log(file).entries(NOTES)]
    assert sum(b"frames are missing from here on: one takes" in note for note in notes) == 2


def test_a_run_that_keeps_none_says_so(drive: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    with (tmp_path / "camera.toml").open("a") as file:
        file.write(FULL)
    boxes = np.tile([8, 4, 32, 32], (3, 1))
    np.savez(tmp_path / "drive.npz", x=noise(0, 3, 480, 640, 3), box=boxes)
    done = run(tmp_path, "--record-frames", "10", "--keep-mb", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("flight-00001.mcap: frames are left out: one takes") == 1


def test_a_warning_holds_up_no_log_whatever_it_is_called(
    shown: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name is no text."""
    log = tmp_path / os.fsdecode(b"fl\xe9ght.mcap")
    recorder = recording(shown, log, keep_mb=1.0)
    assert recorder.frames is not None
    shown.nominal()
    recorder.frames.saw("front", noise(0, 480, 640, 3), "BGR", 0)
    with caplog.at_level(logging.WARNING):
        shown.guard.close()
    assert "frames are left out" in caplog.text and "not closed" not in caplog.text
    assert replay(next(tmp_path.glob("*-00001.mcap"))).decisions == shown.ticks


def test_one_frame_and_then_none_for_ages(shown: Bench, log: Path) -> None:
    recorder = shown.guard.record(log, key=log.with_name("key.json"), frames_hz=1e-300)
    assert recorder.frames is not None
    shown.nominal()
    for n in range(3):
        recorder.frames.saw("front", noise(n, 4, 4, 3), "BGR", n * 10**17)
    shown.guard.close()
    assert [f["number"] for f in frames_of(log)] == [0]


def test_a_recorder_that_stands_still_holds_up_no_tick(shown: Bench, log: Path) -> None:
    """As many ticks as one likes; the frames that found no room are missing by their numbers."""
    recorder = recording(shown, log)
    frames = recorder.frames
    assert frames is not None
    shown.nominal()
    os.kill(recorder.process_id, signal.SIGSTOP)
    rescue = threading.Timer(60.0, os.kill, (recorder.process_id, signal.SIGCONT))
    rescue.start()
    for n in range(50):
        frames.saw("front", noise(n, 480, 640, 3), "BGR", n * SECOND_NS // 10)
        shown.tick()
    assert rescue.is_alive(), "nobody had to help"
    rescue.cancel()
    os.kill(recorder.process_id, signal.SIGCONT)
    shown.guard.close()
    numbers = [f["number"] for f in frames_of(log)]
    assert numbers[-1] == 49 and 3 <= len(numbers) <= 10
    assert replay(log).decisions == shown.ticks


KILLED = """
import sys
from pathlib import Path
from tests.output.recorder.test_frames import *
folder = Path(sys.argv[1])
bench = Bench(write_policy(folder, POLICY + FULL))
recorder = recording(bench, folder / "flight.mcap")
print(recorder.process_id, flush=True)
bench.nominal()
for n in range(10**6):
    recorder.frames.saw("front", noise(n, 480, 640, 3), "BGR", n * SECOND_NS // 10)
    bench.tick()
    print(n, flush=True)
"""


def test_a_guard_that_dies_in_a_frame(tmp_path: Path, log: Path, pinned: Callable[[], str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    recorder = int(process.stdout.readline())
    while int(process.stdout.readline()) < 30:
        pass
    wait_for("a frame is in the log", lambda: len(frames_of(log)) > 0)
    process.kill()
    process.wait()
    wait_for("the recorder ends", lambda: not Path(f"/proc/{recorder}/exe").exists())
    assert verify(log, pinned()).state is State.NOT_CLOSED
    found = frames_of(log)
    assert len(found) >= 1
    assert all((pixels_of(f) == noise(f["number"], 480, 640, 3)).all() for f in found)
    assert replay(log).decisions > 100


def test_the_rule_holds_in_a_loop_of_ones_own(tmp_path: Path, log: Path) -> None:
    for disclosure in ("label", "rounded"):
        policy = write_policy(tmp_path, POLICY + FULL.replace("full", disclosure))
        with pytest.raises(EdgeguardError, match=f'disclosure: is "{disclosure}"'):
            recording(Bench(policy), log)
        assert not log.exists()

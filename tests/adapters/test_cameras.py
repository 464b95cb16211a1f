# SPDX-License-Identifier: Apache-2.0
"""Frames out of GStreamer's own test source, and Picamera2 as far as it goes without a Pi."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.adapters import gstreamer
from edgeguard.adapters import picamera2 as pi
from edgeguard.adapters.card import number
from edgeguard.errors import EdgeguardError
from tests.adapters.pages import ROOT, follow

try:
    gstreamer._libraries()
    HAS_GSTREAMER = True
except EdgeguardError:
    HAS_GSTREAMER = False
with_gstreamer = pytest.mark.skipif(not HAS_GSTREAMER, reason="no GStreamer on this system")


def picture(
    pattern: str, pixels: str, size: tuple[int, int] = (64, 48), convert: str = ""
) -> np.ndarray:
    caps = f"video/x-raw,width={size[0]},height={size[1]}"
    (frame,) = gstreamer.frames(f"videotestsrc num-buffers=1 {pattern} ! {caps}{convert}", pixels)
    return frame.image


@with_gstreamer
@pytest.mark.parametrize(
    ("pixels", "shape", "red"),
    [
        ("BGR", (48, 64, 3), [0, 0, 255]),
        ("RGB", (48, 64, 3), [255, 0, 0]),
        ("BGRA", (48, 64, 4), [0, 0, 255, 255]),
        ("YUYV", (48, 64, 2), None),
        ("GRAY", (48, 64), None),
        ("NV12", (72, 64), None),
    ],
)
def test_every_format_has_the_shape_that_the_guard_takes(
    pixels: str, shape: tuple[int, ...], red: list[int] | None
) -> None:
    image = picture("pattern=red", pixels)
    assert (image.shape, image.dtype) == (shape, np.uint8)
    if red is not None:
        assert image[20, 30].tolist() == red
    else:  # luma of red, BT.601 of limited or full range
        assert image.reshape(-1)[0] in (76, 81, 82)


@with_gstreamer
@pytest.mark.parametrize("width", [61, 62, 63, 64])
def test_rows_that_are_padded_in_memory_are_not_skewed(width: int) -> None:
    image = picture("pattern=checkers-8", "BGR", (width, 48))
    assert image.shape == (48, width, 3)
    expected = (np.arange(48)[:, None] // 8 + np.arange(width)[None] // 8) % 2
    assert len({tuple(c) for c in image[expected == 0].tolist()}) == 1
    assert len({tuple(c) for c in image[expected == 1].tolist()}) == 1


@with_gstreamer
def test_stamps_are_of_the_capture_and_of_this_clock() -> None:
    live = gstreamer.frames(
        "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1"
    )
    before_ns = time.monotonic_ns()
    stamps = [frame.t_ns for frame in itertools.islice(live, 10)]
    live.close()
    assert before_ns - 20_000_000 <= stamps[0] and stamps[-1] <= time.monotonic_ns()
    steps = np.diff(stamps)
    assert set(np.round(steps / 20_000_000)) <= set(range(1, 50)), "on the source's own grid"
    assert np.abs(steps - np.round(steps / 20_000_000) * 20_000_000).max() < 1000


@with_gstreamer
def test_a_stream_whose_stamps_begin_anew_goes_on_in_time() -> None:
    """A second source behind the first: its segment begins where that ended, its stamps at 0."""
    size = "video/x-raw,width=64,height=48,framerate=50/1"
    one = f"videotestsrc is-live=true num-buffers=15 ! {size} ! c."
    other = f"videotestsrc num-buffers=5 ! {size} ! c."
    stamps = [f.t_ns for f in gstreamer.frames(f"{one} {other} concat name=c")]
    assert np.diff(stamps).min() >= 0


@with_gstreamer
def test_who_is_slow_gets_the_newest_and_misses_the_rest() -> None:
    live = gstreamer.frames(
        "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=100/1"
    )
    first = next(live)
    time.sleep(0.3)
    next(live)  # was made while nobody looked
    third = next(live)
    live.close()
    assert third.t_ns - first.t_ns >= 250_000_000


def test_a_format_that_is_none_is_named() -> None:
    with pytest.raises(EdgeguardError, match="pixels rgb: want one of BGR, RGB"):
        next(gstreamer.frames("videotestsrc", "rgb"))


@with_gstreamer
def test_an_odd_height_of_nv12_is_named() -> None:
    pipeline = "videotestsrc num-buffers=1 ! video/x-raw,width=320,height=241 ! videoconvert"
    with pytest.raises(EdgeguardError, match="or a size with an even height behind videoscale"):
        next(gstreamer.frames(pipeline, "NV12"))


@with_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "complaint"),
    [
        ("nosuchsrc", r'^gstreamer: nosuchsrc ! .*no element "nosuchsrc"$'),
        ("videotestsrc !", r"^gstreamer: videotestsrc ! ! .*syntax error$"),
        ("filesrc location=/nowhere ! decodebin ! videoconvert", r"Resource not found\.$"),
    ],
)
def test_pipelines_that_do_not_run_are_named_in_one_line(pipeline: str, complaint: str) -> None:
    with pytest.raises(EdgeguardError, match=complaint) as caught:
        list(gstreamer.frames(pipeline))
    assert "\n" not in str(caught.value)


@with_gstreamer
def test_a_video_file_is_read_to_its_end(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="writes the file")
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for grey in (0, 80, 160, 240):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    try:
        seen = list(gstreamer.frames(f"filesrc location={path} ! decodebin ! videoconvert"))
    except EdgeguardError as error:
        pytest.skip(f"this GStreamer cannot decode it: {error}")
    assert seen and seen[-1].image.mean() == pytest.approx(240, abs=4), "the last of all"


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    gstreamer._libraries.cache_clear()
    monkeypatch.setattr(gstreamer.c, "CDLL", none)
    with pytest.raises(EdgeguardError, match=r"apt-get install libgstreamer-plugins-base1\.0-0"):
        next(gstreamer.frames("videotestsrc"))
    gstreamer._libraries.cache_clear()


@with_gstreamer
def test_the_page_word_for_word(tmp_path: Path) -> None:
    *_, said = follow("cameras.md", tmp_path)
    lines = said.splitlines()
    lost = [i for i, line in enumerate(lines) if "FRAME_LOST" in line]
    # the first tick comes before the first frame
    seen = [i for i, line in enumerate(lines) if "FRAME_LOST" not in line]
    assert len(lines) > 50 and seen and lost[-1] == len(lines) - 1
    assert not [i for i in lost if seen[0] < i < seen[-1]], "lost once, at the end"
    assert not any("FROZEN_INPUT" in line for line in lines)


def guarded(folder: Path, pipeline: str) -> subprocess.CompletedProcess[str]:
    """`edgeguard run` with the page's policy."""
    number("target_speed", 0, 10, "m/s").save(folder / "planner.card.json")
    page = (ROOT / "docs" / "integrations" / "cameras.md").read_text(encoding="utf-8")
    policy = "#" + page.split("# guard.toml", 1)[1].split("```")[0]
    (folder / "guard.toml").write_text(policy, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "edgeguard", "run", "guard.toml", "--seconds", "4",
         "--source", f"gstreamer:{pipeline}", "--signal", "speed=0"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@with_gstreamer
def test_a_pipeline_is_a_source_of_the_run_command(tmp_path: Path) -> None:
    """The size is the one that the policy names; when the source ends, the ticks go on."""
    size = "video/x-raw,width=320,height=240,framerate=30/1"
    source = f"videotestsrc pattern=snow is-live=true num-buffers=45 ! {size} ! videoconvert"
    ran = guarded(tmp_path, source)
    assert ran.returncode == 0, ran.stderr
    lost = ["FRAME_LOST" in json.loads(line)["present"] for line in ran.stdout.splitlines()]
    assert lost[0] and lost[-1] and not all(lost)
    assert "camera lost, no more frames: it ended" in ran.stderr


@with_gstreamer
def test_a_pipeline_that_is_none_ends_the_run_with_one_line(tmp_path: Path) -> None:
    ran = guarded(tmp_path, "nosuchsrc")
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("gstreamer: nosuchsrc ! ")
    assert "Traceback" not in ran.stderr


# ------------------------------------------------------------------- Picamera2


class Request:
    """What Picamera2 hands out: it must be given back, or the camera stops."""

    def __init__(self, image: Any, metadata: dict[str, int], out: set[Request]) -> None:
        self.image, self.metadata, self.out = image, metadata, out
        out.add(self)

    def make_array(self, name: str) -> Any:
        assert self in self.out, "released before it was read"
        if name != "main":
            raise RuntimeError(f'Stream "{name}" is not defined')
        return self.image.copy()

    def get_metadata(self) -> dict[str, int]:
        return self.metadata

    def release(self) -> None:
        self.out.remove(self)


class Camera:
    def __init__(self, age_ns: int | None) -> None:
        self.out: set[Request] = set()
        self.age_ns, self.n = age_ns, 0
        self.streams: dict[str, Any] = {"main": {"format": "RGB888", "size": (6, 4)}, "lores": None}

    def camera_configuration(self) -> dict[str, Any]:
        return self.streams

    def capture_request(self) -> Request:
        self.n += 1
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        stamped = {} if self.age_ns is None else {"SensorTimestamp": now_ns - self.age_ns}
        return Request(np.full((4, 6, 3), self.n, np.uint8), stamped, self.out)


def test_each_frame_is_given_back_and_stamped_with_its_exposure() -> None:
    camera = Camera(age_ns=33_000_000)
    before_ns = time.monotonic_ns()
    seen = list(itertools.islice(pi.frames(camera), 5))
    after_ns = time.monotonic_ns()
    assert not camera.out
    assert [int(f.image[0, 0, 0]) for f in seen] == [1, 2, 3, 4, 5]
    for frame in seen:
        assert before_ns - 34_000_000 <= frame.t_ns <= after_ns - 33_000_000 + 1_000_000


@pytest.mark.parametrize("age_ns", [None, -10_000_000])
def test_a_stamp_that_is_missing_or_ahead_is_the_arrival(age_ns: int | None) -> None:
    before_ns = time.monotonic_ns()
    frame = next(pi.frames(Camera(age_ns)))
    assert before_ns <= frame.t_ns <= time.monotonic_ns()


@pytest.mark.parametrize(
    ("stream", "configured", "pixels", "complaint"),
    [
        ("lores", "RGB888", "BGR", "lores: the camera has no such stream"),
        ("raw", "RGB888", "BGR", "raw: the camera has no such stream"),
        ("main", "BGR888", "BGR", "main: is BGR888; configure RGB888, which is BGR here"),
        ("main", "XBGR8888", "BGRA", "main: is XBGR8888; configure XRGB8888"),
        ("main", "YVYU", "YUYV", "main: is YVYU; configure YUYV"),
        ("main", "YUV420", "NV12", "NV12: want one of BGR, RGB, BGRA, YUYV"),
    ],
)
def test_frames_of_the_same_shape_and_another_format_are_refused(
    stream: str, configured: str, pixels: str, complaint: str
) -> None:
    camera = Camera(0)
    camera.streams["main"]["format"] = configured
    with pytest.raises(EdgeguardError, match=f"^picamera2: {complaint}"):
        next(pi.frames(camera, stream, pixels))
    assert not camera.out and camera.n == 0


def test_the_package_has_the_interface_that_is_used() -> None:
    """Read, not imported: it wants libcamera, which only a Pi has."""
    spec = importlib.util.find_spec("picamera2")
    if spec is None or spec.origin is None:
        pytest.skip("picamera2 is not installed; pip install --no-deps picamera2")
    folder = Path(spec.origin).parent
    methods = {
        name: {a.arg for a in f.args.args}
        for file in ("picamera2.py", "request.py")
        for node in ast.parse((folder / file).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name in ("Picamera2", "CompletedRequest")
        for f in node.body
        if isinstance(f, ast.FunctionDef)
        for name in [f.name]
    }
    assert "capture_request" in methods
    assert methods["camera_configuration"] == {"self"}
    assert methods["make_array"] == {"self", "name"}
    assert methods["get_metadata"] == methods["release"] == {"self"}
    assert "SensorTimestamp" in (folder / "picamera2.py").read_text()

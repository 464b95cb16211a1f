# SPDX-License-Identifier: Apache-2.0
"""A camera on the network is decoded in a process that can reach this camera and nothing else."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard import _isolation, sandbox
from edgeguard.errors import EdgeguardError
from edgeguard.intake import rtsp
from edgeguard.intake.decoder import network
from edgeguard.intake.sources import Frame

cv2 = pytest.importorskip("cv2", reason="streams are read with OpenCV (extra images)")
from tests.intake.rtsp_camera import RtspCamera  # noqa: E402

pytestmark = pytest.mark.alone

RATE_HZ = 25.0


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Each one brighter than the one before, so that the first pixel is its number."""
    return [np.full((32, 48, 3), 2 * i + 10, np.uint8) for i in range(100)]


def taken(frames: Iterator[Frame], count: int) -> list[Frame]:
    return [next(frames) for _ in range(count)]


def number(frame: Frame) -> int:
    return round((float(frame.image.mean()) - 10) / 2)


def test_its_frames_are_those_that_the_camera_sends(pictures: list[np.ndarray]) -> None:
    camera = RtspCamera(pictures, RATE_HZ)
    frames = network(f"rtsp://user:secret@127.0.0.1:{camera.port}/front")
    try:
        found = taken(frames, 10)
    finally:
        frames.close()  # type: ignore[attr-defined]
        camera.close()
    first = number(found[0])
    for i, frame in enumerate(found, first):
        sent = cv2.imdecode(np.frombuffer(camera.jpegs[i], np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(frame.image.astype(int) - sent).max() <= 2  # another decoder's rounding
    times = [frame.t_ns for frame in found]
    assert times == sorted(times)
    assert time.monotonic_ns() >= times[-1]
    assert not any("secret" in line for line in camera.asked)


def test_a_frame_that_was_held_up_does_not_pass_for_a_new_one(pictures: list[np.ndarray]) -> None:
    """The network stands still for a second: what comes then is old, and says so."""
    begin = threading.Event()

    def wait(i: int) -> None:
        if i == 60:
            begin.wait(10)
            time.sleep(1.0)

    camera = RtspCamera(pictures, RATE_HZ, wait)
    frames = network(f"rtsp://127.0.0.1:{camera.port}/front")
    try:
        found = [next(frames)]
        while number(found[-1]) < 59:
            found.append(next(frames))
        begin.set()
        held = next(frames)
        age_ns = time.monotonic_ns() - held.t_ns
        late = taken(frames, 10)
    finally:
        frames.close()  # type: ignore[attr-defined]
        camera.close()
    assert number(held) == 60
    assert age_ns > 0.9e9
    for one, other in pairwise([held, *late]):
        assert other.t_ns - one.t_ns == pytest.approx(1e9 / RATE_HZ, abs=20e6)


def test_a_stream_that_ends_or_never_comes_is_an_error(pictures: list[np.ndarray]) -> None:
    camera = RtspCamera(pictures[:60], 200.0)
    url = f"rtsp://user:secret@127.0.0.1:{camera.port}/front"
    with pytest.raises(EdgeguardError, match=r"rtsp://127.0.0.1:\d+/front: the stream has ended"):
        list(network(url))
    camera.close()
    with pytest.raises(EdgeguardError, match="no stream that OpenCV can read") as told:
        list(network(url))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["rtsp://", "rtsp://:554/x", "rtsp://[::1/x", "rtsp://h:99999/x"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(EdgeguardError, match="want rtsp://"):
        list(network(url))


def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(EdgeguardError, match=r"rtsp://nowhere\.invalid/x: "):
        list(network("rtsp://user:secret@nowhere.invalid/x"))


_ATTEMPTS = """
import errno, json, os, socket
from edgeguard import sandbox

def tried(what):
    try:
        what()
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def tcp(port):
    with socket.socket() as line:
        line.connect(("127.0.0.1", port))

def fast(port):
    with socket.socket() as line:
        line.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", port))

def bound():
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))

def main(o):
    missing = sandbox.confine(sandbox.Need((), server=(int(socket.AF_INET), o["port"])))
    told = {
        "its own": tried(lambda: tcp(o["port"])),
        "another port": tried(lambda: tcp(o["other"])),
        "fast open": tried(lambda: fast(o["other"])),
        "udp": tried(lambda: socket.socket(type=socket.SOCK_DGRAM)),
        "another family": tried(lambda: socket.socket(socket.AF_INET6)),
        "unix": tried(lambda: socket.socket(socket.AF_UNIX)),
        "multipath": tried(lambda: socket.socket(proto=262)),
        "a server": tried(bound),
    }
    os.write(o["mouth"], json.dumps(told).encode())
    return 0
"""


@pytest.mark.skipif(_isolation.landlock_abi() < 4, reason="needs Landlock for TCP (Linux 6.7)")
@pytest.mark.skipif(not _isolation.has_seccomp(), reason="needs seccomp")
def test_it_reaches_its_own_server_alone(tmp_path: str) -> None:
    ear, mouth = os.pipe()
    own, other = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    options = {"port": own.getsockname()[1], "other": other.getsockname()[1], "mouth": mouth}
    source = sandbox.program("edgeguard.sandbox").replace("from edgeguard.sandbox import main", "0")
    process = sandbox.start(
        source.replace("sys.exit(main(o))", f"exec({_ATTEMPTS!r}); main(o)"), options, (mouth,)
    )
    os.close(mouth)
    assert process.wait() == 0
    told = json.loads(os.read(ear, 65536))
    os.close(ear)
    own.close()
    other.close()
    assert told.pop("its own") == "done"
    assert set(told.values()) <= {"EPERM", "EACCES"}, told


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 3 * 10**9)), min_size=2, max_size=30),
    st.integers(-(10**15), 10**15),
)
def test_no_frame_is_from_the_future_or_younger_than_it_is(
    steps: list[tuple[int, int]], apart_ns: int
) -> None:
    """Each was sent so long after the one before, and its way took so long beyond the shortest."""
    clock, sent_ns, here_ns, shortest_ns = rtsp.Clock(), 0, 0, None
    for gap_ns, late_ns in steps:
        sent_ns += gap_ns
        here_ns = max(here_ns, sent_ns + late_ns)  # TCP keeps the order
        shortest_ns = min(x for x in (shortest_ns, here_ns - sent_ns) if x is not None)
        t_ns = clock.taken(sent_ns + apart_ns, here_ns)
        if t_ns is not None:
            drift_ns = here_ns // 1000
            assert t_ns <= here_ns
            assert sent_ns + shortest_ns <= t_ns <= sent_ns + shortest_ns + drift_ns


MS = 1_000_000


def ages_ms(ways: list[tuple[int, int]], apart_ns: int = 123_456_789) -> list[float | None]:
    """Of frames (sent, here), how old their stamps say that they are; None: none was given."""
    clock, found = rtsp.Clock(), []
    for sent_ns, here_ns in ways:
        t_ns = clock.taken(sent_ns + apart_ns, here_ns)
        found.append(None if t_ns is None else (here_ns - t_ns) / MS)
    return found


def live(count: int, period_ns: int, begin: int, late_ns: list[int]) -> list[tuple[int, int]]:
    sent = [begin + i * period_ns for i in range(count)]
    return [(s, s + late_ns[i % len(late_ns)]) for i, s in enumerate(sent)]


@pytest.mark.parametrize("decode_ms", [1, 20, 36])
@pytest.mark.parametrize("hiccup_ms", [0, 60])
def test_what_was_buffered_at_first_gets_no_stamp(decode_ms: int, hiccup_ms: int) -> None:
    """Two seconds of it at 25 frames a second, with a pause while it is drained."""
    period, here, ways = 40 * MS, 3000 * MS, []
    for i in range(2000):
        sent = 1000 * MS + i * period
        here = max(sent + 2 * MS, here + decode_ms * MS + (hiccup_ms * MS if i == 20 else 0))
        ways.append((sent, here))
    truth = [(h - s) / MS - 2 for s, h in ways]
    assert max(truth) > 1900
    said = ages_ms(ways)
    assert said[-1] is not None
    for age, true in zip(said, truth, strict=True):
        assert age is None or age > true - 6


def test_a_network_that_shakes_is_steady_after_a_second() -> None:
    late = [int(x * MS) for x in np.random.default_rng(3).uniform(2, 22, 997)]
    said = ages_ms(live(3000, 33 * MS, 0, late))
    assert said.index(next(a for a in said if a is not None)) <= 64
    assert None not in said[64:]


def test_a_buffer_that_fills_and_empties_later_is_seen() -> None:
    """A stall of a second, and what was held up comes all at once."""
    ways = live(100, 40 * MS, 0, [2 * MS])
    stalled = [(s, max(h, 3000 * MS)) if s >= 2000 * MS else (s, h) for s, h in ways]
    said = ages_ms(stalled)
    for age, (sent, here) in zip(said[40:], stalled[40:], strict=True):
        assert age == pytest.approx((here - sent) / MS - 2, abs=2)

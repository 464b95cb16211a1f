# SPDX-License-Identifier: Apache-2.0
"""A CAN bus is read in a thread: every frame, window by window, and again after a failure."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.intake.bus import EXTENDED, Reader

can = pytest.importorskip("can", reason="needs the extra can")

pytestmark = pytest.mark.alone
Heard = tuple[str, Any]


class Listener:
    def __init__(self, name: str, window_s: float = 0.02) -> None:
        self.heard = queue.SimpleQueue[Heard]()
        self.reader = Reader(
            name,
            lambda t_s, identifier, data: self.heard.put(("frame", (identifier, data))),
            lambda t_ns: self.heard.put(("window", t_ns)),
            window_s,
        )

    def next(self, kind: str) -> Any:
        while True:
            found, what = self.heard.get(timeout=30.0)
            if found == kind:
                return what


@pytest.fixture
def sender() -> Iterator[Any]:
    with can.Bus(interface="virtual", channel="read-me") as bus:
        yield bus


@pytest.fixture
def listener(sender: Any) -> Iterator[Listener]:
    made = Listener("can:virtual/read-me")
    yield made
    made.reader.close()


def test_every_frame_with_its_identifier(sender: Any, listener: Listener) -> None:
    sent = [(n, bytes([n, 255 - n])) for n in range(200)]
    for identifier, data in sent:
        sender.send(can.Message(arbitration_id=identifier, data=data, is_extended_id=False))
    assert [listener.next("frame") for _ in sent] == sent
    sender.send(can.Message(arbitration_id=5, data=b"x", is_extended_id=True))
    assert listener.next("frame") == (5 + EXTENDED, b"x"), "another one than the short 5"
    sender.send(can.Message(is_error_frame=True))
    sender.send(can.Message(arbitration_id=6, data=b"", is_extended_id=False))
    assert listener.next("frame") == (6, b"")


def test_windows_end_while_nothing_is_heard(listener: Listener) -> None:
    first, second = listener.next("window"), listener.next("window")
    assert first < second <= time.monotonic_ns()


def test_a_bus_that_fails_is_opened_again_and_no_window_ends_meanwhile(
    sender: Any, listener: Listener, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    listener.next("window")
    real, opened = can.Bus, queue.SimpleQueue[bool]()

    def gone(**_: Any) -> Any:
        opened.put(False)
        raise can.CanError("no such device")

    with monkeypatch.context() as patch:
        patch.setattr(can, "Bus", gone)
        patch.setattr(listener.reader._bus, "recv", lambda timeout: gone())
        for _ in range(3):
            opened.get(timeout=30.0)
        while not listener.heard.empty():
            listener.heard.get()
        opened.get(timeout=30.0)
        assert listener.heard.empty()
    assert can.Bus is real
    listener.next("window")
    sender.send(can.Message(arbitration_id=7, data=b"", is_extended_id=False))
    assert listener.next("frame") == (7, b"")
    assert "bus can:virtual/read-me: no such device; it is opened again" in caplog.text


def test_closing_ends_the_thread(sender: Any) -> None:
    made = Listener("can:virtual/read-me", window_s=60.0)
    made.reader.close()
    made.reader._thread.join(30.0)
    assert not made.reader._thread.is_alive()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("can0", "want can:CHANNEL or can:INTERFACE/CHANNEL"),
        ("can:", "want can:CHANNEL"),
        ("can:/x", "want can:CHANNEL"),
        ("can://virtual/x", "Unknown interface"),
        ("lin:0", "want can:CHANNEL"),
        ("can:no-such-interface/0", "Unknown interface"),
        ("can:edgeguard-none", "edgeguard-none"),
    ],
)
def test_a_bus_that_is_none_is_named(name: str, complaint: str) -> None:
    with pytest.raises(EdgeguardError) as caught:
        Reader(name, lambda *_: None, lambda _: None)
    assert str(caught.value).startswith(f"--bus {name}: ")
    assert "\n" not in str(caught.value)
    if name != "can:edgeguard-none":  # what SocketCAN says depends on the kernel
        assert complaint in str(caught.value)

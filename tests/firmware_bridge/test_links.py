# SPDX-License-Identifier: Apache-2.0
"""Real ports: a pty, a socket, CAN FD in this process; ports that block, vanish and come back."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import can
import pytest

from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from firmware_bridge.host import HostLink, Phase
from firmware_bridge.links import (
    CAN_ID,
    FD_LENGTHS,
    MOST_REFUSED,
    QUEUE,
    CanLink,
    SerialLink,
    SerialPort,
    Unit,
    open_link,
    padded,
)
from firmware_bridge.native import ffi, lib
from firmware_bridge.session import Session
from tests.firmware_bridge.board import PATIENCE_S, Board, pseudo_terminal, wait_for
from tests.firmware_bridge.rig import KEYS, Rig


def decision(rig: Rig) -> Decision:
    """One that the guard made."""
    rig.tick()
    assert rig.decision is not None
    return rig.decision


def test_bytes_pass_a_pty_in_both_directions() -> None:
    got: list[bytes] = []
    with pseudo_terminal() as (master, name), SerialLink(name, got.append) as link:
        link.send([Unit(0, b"to the board"), Unit(1, b"\0\x11\x13\r\n\xff")])
        seen = b""
        while len(seen) < 18:
            seen += os.read(master, 100)
        assert seen == b"to the board\0\x11\x13\r\n\xff"
        os.write(master, b"\0\x03\x04\x1a\r\n")
        wait_for(lambda: b"".join(got) == b"\0\x03\x04\x1a\r\n")


def test_a_socket_is_a_port_too() -> None:
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with SerialLink(url, got.append) as link:
            board, _ = server.accept()
            with board:
                link.send([Unit(0, b"hello")])
                assert board.recv(100) == b"hello"
                board.sendall(b"state")
                wait_for(lambda: b"".join(got) == b"state")


def test_a_port_that_takes_no_bytes_costs_frames_and_no_time() -> None:
    """Nobody reads the other end, so the writer hangs in `write` for good; `send` returns, as it
    only appends to a short queue: what the queue cannot hold is counted, oldest first."""
    with pseudo_terminal() as (_, name), SerialLink(name, lambda data: None) as link:
        writer = link._threads[1]

        def dropped_of(sent: int, pause_s: float = 0) -> int:
            before = link.dropped
            for _ in range(sent):
                link.send([Unit(0, bytes(8192))])
                time.sleep(pause_s)
            return link.dropped - before

        # The pty's own buffer fills, a little at a time, then the queue.
        wait_for(lambda: dropped_of(50, pause_s=0.001) == 50)
        assert dropped_of(1000) == 1000  # the writer took nothing meanwhile
        assert writer.is_alive()
    assert not writer.is_alive()  # and `close` ends even that


def test_the_decision_tick_goes_on_when_the_port_is_blocked(rig: Rig) -> None:
    """The whole session on such a port: a thousand ticks, every one decided and handed over."""
    with (
        pseudo_terminal() as (_, name),
        Session(name, rig.table, KEYS) as session,
    ):
        made = decision(rig)
        ticks = 0
        while session.link.dropped < 3000:
            if session.phase is not Phase.ARMED:  # as if the port had been blocked just now
                lib.eg_link_open(session._host._link, bytes(8), bytes(8))
                session._host.phase = Phase.ARMED
            session.before()
            session.after(made)
            ticks += 1
            assert ticks < 20_000
        assert session.link.connected


def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(EdgeguardError, match=r"^/dev/nowhere: .*No such file"):
        SerialLink("/dev/nowhere", lambda data: None)
    with pytest.raises(EdgeguardError, match="want can://INTERFACE/CHANNEL"):
        open_link("can:can0", lambda data: None)


def test_a_port_that_comes_back_is_opened_again(tmp_path: Path) -> None:
    name = tmp_path / "board"
    got: list[bytes] = []
    with pseudo_terminal() as (first, device):
        name.symlink_to(device)
        link = SerialLink(str(name), got.append)
        os.write(first, b"before")
        wait_for(lambda: got)
    with link:
        wait_for(lambda: not link.connected)
        assert link.failure
        link.send([Unit(0, b"lost")])
        with pseudo_terminal() as (second, device):
            name.unlink()
            name.symlink_to(device)
            wait_for(lambda: link.reconnects == 1)
            got.clear()
            os.write(second, b"after")
            wait_for(lambda: b"".join(got) == b"after")
            link.send([Unit(0, b"again")])
            seen = b""
            while not seen.endswith(b"again"):
                seen += os.read(second, 100)


def test_a_second_program_does_not_get_the_port() -> None:
    with (
        pseudo_terminal() as (_, name),
        SerialLink(name, lambda data: None),
        pytest.raises(EdgeguardError, match=r"exclusively lock|busy"),
    ):
        SerialLink(name, lambda data: None)


def test_a_port_that_is_opened_too_late_is_closed() -> None:
    """`close` comes when the reading thread has the port open already and is about to keep it."""
    opened = threading.Event()

    class Ended(threading.Event):
        def is_set(self) -> bool:
            before = super().is_set()
            if opened.is_set() and not closing.is_alive():
                opened.clear()
                closing.start()
                closing.join(0.5)  # it waits for this thread, or for its lock
            return before

    with pseudo_terminal() as (_, name):

        def open_again() -> SerialPort:
            port = SerialPort(name, 115_200)
            opened.set()
            return port

        link = SerialLink(name, lambda data: None)
        closing = threading.Thread(target=link.close)
        link._open, link._ended = open_again, Ended()
        link._drop(link._port)
        link._threads[0].join(PATIENCE_S)
        closing.join(PATIENCE_S)
        assert not link.connected
        SerialLink(name, lambda data: None).close()  # nobody holds it


def test_who_cannot_take_what_was_said_is_not_deaf_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The port is closed, which both ends notice, and opened again; it is logged once."""
    got: list[bytes] = []

    def heard(data: bytes) -> None:
        if data.startswith(b"bad"):
            raise KeyError("of what is heard")
        got.append(data)

    with pseudo_terminal() as (master, name), SerialLink(name, heard) as link:
        os.write(master, b"bad")
        wait_for(lambda: link.reconnects == 1)
        os.write(master, b"bad")
        wait_for(lambda: link.reconnects == 2)
        os.write(master, b"good")
        wait_for(lambda: b"".join(got) == b"good")
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: KeyError: 'of what is heard'; the port is opened again"
    ]


def test_arming_over_a_pty(rig: Rig) -> None:
    with (
        pseudo_terminal() as (master, name),
        Board(rig.table, KEYS, master),
        Session(name, rig.table, KEYS) as session,
    ):
        assert session.wait_armed(PATIENCE_S) is None
        assert session.state is not None


# ---------------------------------------------------------------------- CAN FD


def frames_of(data: bytes) -> list[bytes]:
    """What stands between the zeros on serial, as a CAN controller would send it."""
    out = ffi.new("uint8_t[64]")
    found = []
    for piece in data.split(b"\0"):
        n = lib.eg_cobs_decode(piece, len(piece), out, 64) if piece else 0
        if n:
            found.append(bytes(ffi.buffer(out, n)))
    return found


def to_serial(frame: bytes) -> bytes:
    """And back: without the padding, in COBS."""
    length = int.from_bytes(frame[:2], "big") + 8
    out = ffi.new("uint8_t[80]")
    n = lib.eg_cobs_encode(frame[:length], length, out)
    return b"\0" + bytes(ffi.buffer(out, n)) + b"\0"


def test_lengths_of_can_fd() -> None:
    for n in range(1, 65):
        made = padded(bytes([7]) * n)
        assert len(made) in FD_LENGTHS
        assert made[:n] == bytes([7]) * n
        assert not any(made[n:])


def test_the_handshake_over_can_fd(rig: Rig) -> None:
    """python-can's own bus; the twin's frames go through it as a board's would."""
    name = f"edgeguard-{os.getpid()}"
    sent: list[can.Message] = []
    with can.Bus(interface="virtual", channel=name, fd=True) as bus:
        host_nonces = iter(range(1, 256))
        host = HostLink(
            rig.table, KEYS, framed=True, nonce=lambda n: bytes(n - 1) + bytes([next(host_nonces)])
        )
        arrived: list[bytes] = []
        with CanLink(f"can://virtual/{name}", arrived.append) as link:
            now_us = rig.now_us
            host.arm(now_us)
            for _ in range(40):
                link.send(units := host.take())
                for _ in units:
                    message = bus.recv(timeout=PATIENCE_S)
                    assert message is not None
                    sent.append(message)
                    rig.twin.receive(to_serial(bytes(message.data)))
                rig.twin.listen(now_us + 500)
                frames = frames_of(rig.twin.step(now_us + 5000))
                for frame in frames:
                    kind = lib.eg_message_type(int.from_bytes(frame[4:8], "big"))
                    bus.send(
                        can.Message(
                            arbitration_id=CAN_ID + kind, is_extended_id=False, is_fd=True,
                            data=padded(frame),
                        )
                    )  # fmt: skip
                while len(arrived) < len(frames):
                    time.sleep(0.001)
                while arrived:
                    host.receive_frame(arrived.pop(0), now_us + 6000)
                now_us += 10_000
                host.tick(now_us)
                if host.phase is Phase.ARMED:
                    break
            assert host.phase is Phase.ARMED
            assert rig.twin.armed
    assert {m.arbitration_id - CAN_ID for m in sent} == {lib.EG_MSG_HELLO, lib.EG_MSG_ARM}
    assert all(m.is_fd and not m.is_extended_id for m in sent)


def test_what_is_not_ours_on_the_bus_is_not_heard() -> None:
    name = f"edgeguard-other-{os.getpid()}"
    got: list[bytes] = []
    with (
        can.Bus(interface="virtual", channel=name, fd=True) as bus,
        CanLink(f"can://virtual/{name}", got.append),
    ):
        ours: Any = {"is_fd": True, "data": b"12345678"}
        for message in (
            can.Message(arbitration_id=0x102, is_extended_id=False, data=b"classic"),
            can.Message(arbitration_id=0x102, is_extended_id=True, **ours),
            can.Message(arbitration_id=0x202, is_extended_id=False, **ours),
            can.Message(arbitration_id=0x102, is_extended_id=False, **ours),
        ):
            bus.send(message)
        wait_for(lambda: got)
        assert got == [b"12345678"]


# --------------------------------------------------------- CAN FD: a queue that is full


def can_name(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}-{os.getpid()}"


def test_a_frame_that_can_does_not_take_is_one_frame(request: pytest.FixtureRequest) -> None:
    """The other end's queue is full, so python-can raises; the port stays open."""
    name, frames = can_name(request), [Unit(1, bytes([n])) for n in range(8)]
    with (
        can.Bus(interface="virtual", channel=name, fd=True, rx_queue_size=3) as bus,
        CanLink(f"can://virtual/{name}", lambda data: None) as link,
    ):
        link.send(frames)
        wait_for(lambda: link.dropped == 5)
        assert link.connected
        seen = [bus.recv(timeout=PATIENCE_S) for _ in range(3)]
        assert [bytes(m.data) for m in seen if m] == [unit.data for unit in frames[:3]]
        link.send([Unit(1, b"next")])
        after = bus.recv(timeout=PATIENCE_S)
        assert after is not None and bytes(after.data) == b"next"
        assert (link.dropped, link.reconnects) == (5, 0)


def test_a_can_port_that_takes_nothing_for_long_is_opened_again(
    request: pytest.FixtureRequest,
) -> None:
    name = can_name(request)
    with (
        can.Bus(interface="virtual", channel=name, fd=True, rx_queue_size=1) as bus,
        CanLink(f"can://virtual/{name}", lambda data: None) as link,
    ):
        link.send([Unit(1, b"fills it")])
        wait_for(lambda: not link._waiting)
        link.send([Unit(1, b"refused")] * QUEUE)
        wait_for(lambda: link.dropped == QUEUE)
        link.send([Unit(1, b"refused")] * (MOST_REFUSED - 1 - QUEUE))
        wait_for(lambda: link.dropped == MOST_REFUSED - 1)
        assert (link.connected, link.reconnects) == (True, 0)
        link.send([Unit(1, b"one too many")])
        wait_for(lambda: link.reconnects == 1)
        assert link.failure.startswith("Could not send message")
        assert bus.recv(timeout=PATIENCE_S)
        link.send([Unit(1, b"new port")])
        after = bus.recv(timeout=PATIENCE_S)
        assert after is not None and bytes(after.data) == b"new port"


class Failing(can.BusABC):
    """What python-can's socketcan raises, an error number each time, then nothing."""

    errors: ClassVar[list[int]] = []

    def __init__(self, channel: str, **more: Any) -> None:
        super().__init__(channel, **more)
        self.channel_info = channel

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        if self.errors:
            number = self.errors.pop(0)
            raise can.CanOperationError(f"Failed to transmit: {os.strerror(number)}", number)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        time.sleep(timeout or 0)
        return None, False


@pytest.mark.parametrize(
    ("number", "dropped", "reconnects"), [(errno.ENOBUFS, 1, 0), (errno.ENETDOWN, 0, 1)]
)
def test_a_full_queue_is_no_port_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, number: int, dropped: int, reconnects: int
) -> None:
    monkeypatch.setitem(can.interfaces.BACKENDS, "socketcan", (__name__, "Failing"))
    monkeypatch.setattr(Failing, "errors", [number])
    with CanLink("can://socketcan/can0", lambda data: None) as link:
        link.send([Unit(1, b"frame")])
        wait_for(lambda: (link.dropped, link.reconnects) == (dropped, reconnects))
        assert link.connected

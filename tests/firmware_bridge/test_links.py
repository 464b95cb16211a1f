# SPDX-License-Identifier: Apache-2.0
"""Real ports: a pty, a socket, CAN FD in this process; ports that block, vanish and come back."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import can
import pytest

from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from firmware_bridge.host import HostLink, Phase
from firmware_bridge.links import CAN_ID, FD_LENGTHS, CanLink, SerialLink, Unit, open_link, padded
from firmware_bridge.native import ffi, lib
from firmware_bridge.session import Session
from firmware_bridge.twin import McuTwin
from tests.firmware_bridge.rig import KEYS, Rig

PATIENCE_S = 20.0


def wait_for(what: Callable[[], Any]) -> None:
    """Until it is true; a machine may be as slow as it likes up to PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


@contextmanager
def pseudo_terminal() -> Iterator[tuple[int, str]]:
    """The end of the microcontroller as a descriptor, that of the host as a path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)
    try:
        yield master, name
    finally:
        os.close(master)


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


class Board(threading.Thread):
    """A twin behind the other end of a pty, in real time."""

    def __init__(self, rig: Rig, master: int) -> None:
        super().__init__(daemon=True)
        os.set_blocking(master, False)
        self.master = master
        self.twin = McuTwin(rig.table, KEYS)
        self.ended = threading.Event()

    def run(self) -> None:
        next_us = time.monotonic_ns() // 1000
        self.twin.power_cycle(next_us)
        while not self.ended.wait(0.0005):
            with suppress(OSError):  # nothing there, or nobody has opened the port
                self.twin.receive(os.read(self.master, 2048))
            now_us = time.monotonic_ns() // 1000
            if now_us < next_us:
                self.twin.listen(now_us)
                continue
            next_us = now_us + 10_000
            with suppress(OSError):
                os.write(self.master, self.twin.step(now_us))


def test_arming_over_a_pty(rig: Rig) -> None:
    with pseudo_terminal() as (master, name):
        board = Board(rig, master)
        board.start()
        try:
            with Session(name, rig.table, KEYS) as session:
                assert session.wait_armed(PATIENCE_S) is None
                assert session.state is not None
        finally:
            board.ended.set()
            board.join()


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

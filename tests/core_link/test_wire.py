# SPDX-License-Identifier: Apache-2.0
"""Both ends of the link against a second implementation of the wire format."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from tests.core_link import peer
from tests.core_link.conftest import Link

KEY = bytes(range(1, 17))
NONCES = bytes(range(100, 108)), bytes(range(50, 58))
SESSION = NONCES[0] + NONCES[1]
NOW_US = 5_000_000
LIMITS = {
    "mode": 3,
    "engaged": 1,
    "channels": 4,
    "operator_request": 1,
    "policy_agrees": 1,
    "authenticated": 1,
    "measured_valid": 3,
    "result": 7,
    "reason": 4,
    "first": 4,
}

authenticated = pytest.mark.parametrize("key", [KEY, b""], ids=["tags", "no tags"])
every = pytest.mark.parametrize("name", peer.MESSAGES)


def an_end(link: Link, mcu: bool, key: bytes) -> Any:
    """In a session; clocks of both ends are the same."""
    end = link.end(mcu, bool(key), key or bytes(16))
    assert link.lib.eg_clock_measure(link.ffi.addressof(end.clock), 0, 2000, 1000)
    link.lib.eg_link_open(end, *NONCES)
    return end


def draw(name: str, seed: str) -> tuple[object, ...]:
    """Values that such a message may have."""
    rng = random.Random(seed)
    _, layout, fields = peer.MESSAGES[name]
    values = list(struct.unpack(layout, rng.randbytes(struct.calcsize(layout))))
    for i, field in enumerate(fields.split()):
        if field in LIMITS:
            values[i] = rng.randint(0, LIMITS[field])
    if name == "COMMAND":
        values[1] = NOW_US
    return tuple(values)


def fill(link: Link, name: str, values: tuple[object, ...]) -> Any:
    """The eg_message_t that says this."""
    message = link.ffi.new("eg_message_t *")
    message.type = getattr(link.lib, f"EG_MSG_{name}")
    part = getattr(message, "as")
    part = getattr(part, "log_head" if name == "LOG_ACK" else name.lower())
    rest = list(values)
    for field in peer.MESSAGES[name][2].split():
        plain, _, words = field.partition("*")
        value: Any = [rest.pop(0) for _ in range(int(words))] if words else rest.pop(0)
        setattr(part, plain, list(value) if isinstance(value, bytes) else value)
    return message


def said(link: Link, name: str, message: Any) -> tuple[object, ...]:
    """The values of an eg_message_t."""
    part = getattr(getattr(message, "as"), "log_head" if name == "LOG_ACK" else name.lower())
    values: list[object] = []
    for field in peer.MESSAGES[name][2].split():
        plain, _, words = field.partition("*")
        value: Any = getattr(part, plain)
        if words:
            values += list(value)
        else:
            values.append(value if isinstance(value, int) else bytes(value))
    return tuple(values)


def sent(link: Link, end: Any, message: Any) -> bytes:
    """What the C code puts on serial."""
    out = link.ffi.new("uint8_t[67]")
    return bytes(out[0 : link.lib.eg_link_wire(end, message, out)])


def heard(link: Link, end: Any, wire: bytes) -> Any:
    """The message that the C code takes from these bytes, or None."""
    message = link.ffi.new("eg_message_t *")
    found = [byte for byte in wire if link.lib.eg_link_byte(end, byte, NOW_US, message)]
    return message if found else None


def test_every_message_is_described_twice(link: Link) -> None:
    assert len(peer.MESSAGES) == link.lib.EG_MESSAGES
    for name, (_, layout, _) in peer.MESSAGES.items():
        kind = getattr(link.lib, f"EG_MSG_{name}")
        assert link.lib.eg_message_size(kind) == struct.calcsize(layout), name
        assert link.lib.eg_message_data_id(kind) == peer.data_id(name), name
        assert peer.VERSION == link.lib.EG_LINK_VERSION


@every
@authenticated
def test_the_peer_reads_what_the_c_code_sends(link: Link, name: str, key: bytes) -> None:
    end = an_end(link, name not in peer.OF_HOST, key)
    for counter in range(100):
        values = draw(name, f"{name}{counter}")
        wire = sent(link, end, fill(link, name, values))
        frame = peer.off_serial(wire)
        assert peer.read(name, frame, SESSION, key) == (counter, values)
        assert wire == peer.on_serial(frame), "no other bytes mean the same frame"


@every
@authenticated
def test_the_c_code_hears_what_the_peer_sends(link: Link, name: str, key: bytes) -> None:
    end = an_end(link, name in peer.OF_HOST, key)
    for counter in range(100):
        values = draw(name, f"{name}{counter}")
        frame = peer.build(name, values, counter, SESSION, key)
        message = heard(link, end, peer.on_serial(frame))
        assert message is not None and said(link, name, message) == values
        link.lib.eg_link_pass(end, 10_000)
        link.lib.eg_link_tick(end)
    assert end.counts.accepted == 100


@every
def test_wrong_key_session_or_direction_is_refused(link: Link, name: str) -> None:
    receiver_is_mcu = name in peer.OF_HOST
    values = draw(name, name)
    other = bytes([SESSION[0] ^ 1]) + SESSION[1:]
    right = peer.on_serial(peer.build(name, values, 0, SESSION, KEY))
    wrong_key = peer.on_serial(peer.build(name, values, 0, SESSION, KEY[::-1]))
    wrong_session = peer.on_serial(peer.build(name, values, 0, other, KEY))
    assert heard(link, an_end(link, receiver_is_mcu, KEY), right) is not None
    assert heard(link, an_end(link, not receiver_is_mcu, KEY), right) is None
    assert heard(link, an_end(link, receiver_is_mcu, KEY), wrong_key) is None
    answer = heard(link, an_end(link, receiver_is_mcu, KEY), wrong_session)
    assert (answer is None) == (name not in peer.ARMING)


def test_a_frame_cannot_turn_authentication_off(link: Link) -> None:
    """No tag, zeros for a tag, a tag of another frame: all refused, and counted as forged."""
    end = an_end(link, True, KEY)
    frame = peer.build("VERDICT", draw("VERDICT", "a"), 0, SESSION, b"")
    other = peer.build("VERDICT", draw("VERDICT", "b"), 0, SESSION, KEY)
    for wire in (frame, frame + bytes(8), frame + other[-8:], frame + b"\1" * 8):
        assert heard(link, end, peer.on_serial(wire)) is None
    assert end.counts.forged == 4

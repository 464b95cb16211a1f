# SPDX-License-Identifier: Apache-2.0
"""The link's other end, written a second time from its description and other people's libraries.

It shares no line with the C code: layout by `struct`, E2E by autosar-e2e, COBS by cobs, tags by
OpenSSL. What both agree on is the wire format.
"""

from __future__ import annotations

import struct

import e2e
from cobs import cobs
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

# Name: last byte of the data id, layout, fields of the C struct in their order (*n: n of them).
MESSAGES = {
    "HELLO": (0x0F, "<8s32s", "nonce policy"),
    "ARM": (0x33, "<8s8sI", "nonce token stamp_us"),
    "COMMAND": (0x3C, "<IIBBB4i", "tick stamp_us mode engaged channels command*4"),
    "VERDICT": (
        0x55,
        "<IIIBB4s4s",
        "tick causes present mode operator_request votes voters",
    ),
    "ANSWER": (0x5A, "<III7I", "tick question answer check*7"),
    "LOG_HEAD": (0x66, "<I32s", "sequence hash"),
    "CHALLENGE": (0x69, "<8s8sBB", "host_nonce nonce policy_agrees authenticated"),
    "ARMED": (0x96, "<BII", "result round_trip_us causes"),
    "STATE": (
        0x99,
        "<IIIBBii2i",
        "stamp_us causes command_age_us mode measured_valid speed steering output*2",
    ),
    "QUESTION": (0xA5, "<IHH", "question open_us close_us"),
    "BOOT": (0xAA, "<BBHI32s", "reason first resets self_test policy"),
    "LOG_ACK": (0xC3, "<I32s", "sequence hash"),
}
OF_HOST = ("HELLO", "ARM", "COMMAND", "VERDICT", "ANSWER", "LOG_HEAD")
ARMING = ("HELLO", "ARM", "CHALLENGE", "ARMED", "BOOT")
VERSION = 2


def data_id(name: str) -> int:
    """ "EG", the version, the type's code."""
    return int.from_bytes(b"EG" + bytes([VERSION, MESSAGES[name][0]]), "big")


def session_of(name: str, session: bytes) -> bytes:
    """Zeros for what arms."""
    return bytes(16) if name in ARMING else session


def tag_of(key: bytes, session: bytes, wraps: int, frame: bytes) -> bytes:
    """64 bits of the CMAC; wraps: of the counter, in this session."""
    mac = CMAC(AES(key))
    mac.update(session + wraps.to_bytes(2, "big") + frame)
    return mac.finalize()[:8]


def build(name: str, values: tuple[object, ...], counter: int, session: bytes, key: bytes) -> bytes:
    """One frame, as the one that `counter` others of its type came before; no tag where the key is
    empty."""
    wraps = 0 if name in ARMING else counter >> 16
    session = session_of(name, session)
    word = bytes(session[i] ^ session[15 - i] for i in range(4))
    frame = bytearray(12) + word + struct.pack(MESSAGES[name][1], *values)
    frame[2:4] = (counter & 0xFFFF).to_bytes(2, "big")
    e2e.p04.e2e_p04_protect(frame, data_id(name), increment_counter=False)
    return bytes(frame) + (tag_of(key, session, wraps, bytes(frame)) if key else b"")


def read(
    name: str, frame: bytes, session: bytes, key: bytes, wraps: int = 0
) -> tuple[int, tuple[object, ...]]:
    """Counter and values of a frame; every check that the receiver makes must hold."""
    session = session_of(name, session)
    body = frame[:-8] if key else frame
    if key:
        assert frame[-8:] == tag_of(key, session, wraps, body)
    assert e2e.p04.e2e_p04_check(bytearray(body), data_id(name))
    assert body[12:16] == bytes(session[i] ^ session[15 - i] for i in range(4))
    return int.from_bytes(body[2:4], "big"), struct.unpack(MESSAGES[name][1], body[16:])


def on_serial(frame: bytes) -> bytes:
    """COBS between zeros."""
    return b"\0" + bytes(cobs.encode(frame)) + b"\0"


def off_serial(wire: bytes) -> bytes:
    """Undo it."""
    assert wire[0] == wire[-1] == 0
    return bytes(cobs.decode(wire[1:-1]))

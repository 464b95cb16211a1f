# SPDX-License-Identifier: Apache-2.0
"""E2E Profile 4 and its CRC against PyPI's autosar-e2e."""

from __future__ import annotations

from typing import Any

import e2e
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core_link.conftest import Link

START = 0xFFFFFFFF
slow = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def protected(link: Link, body: bytes, counter: int, data_id: int) -> bytes:
    frame = link.ffi.new(f"uint8_t[{12 + len(body)}]", bytes(12) + body)
    link.lib.eg_e2e_protect(frame, len(frame), counter, data_id)
    return bytes(frame)


def verdict(link: Link, frame: bytes, data_id: int, last: int | None = None) -> int:
    receiver = link.ffi.new("eg_e2e_receiver_t *")
    if last is not None:
        receiver.counter, receiver.started = last, 1
    result: int = link.lib.eg_e2e_check(receiver, bytes(frame), len(frame), data_id)
    return result


def test_crc_has_the_check_value_of_the_standard(link: Link) -> None:
    crc = link.lib.eg_crc_end(link.lib.eg_crc(START, b"123456789", 9))
    assert crc == e2e.crc.CRC32P4_CHECK == 0x1697D06A


@slow
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_crc_of_pieces_is_the_crc_of_the_whole(link: Link, data: bytes, cut: int) -> None:
    head, tail = data[:cut], data[cut:]
    crc = link.lib.eg_crc(link.lib.eg_crc(START, head, len(head)), tail, len(tail))
    assert link.lib.eg_crc_end(crc) == e2e.crc.calculate_crc32_p4(data, first_call=True)


def test_example_of_the_standard(link: Link) -> None:
    """PRS_E2EProtocol: 4 bytes of zeros, data id 0x0A0B0C0D, counter 0."""
    frame = protected(link, bytes(4), 0, 0x0A0B0C0D)
    assert frame == bytes.fromhex("00100000 0a0b0c0d 862b0556 00000000")


@slow
@given(
    body=st.binary(max_size=4084),
    counter=st.integers(0, 0xFFFF),
    data_id=st.integers(0, 0xFFFFFFFF),
)
def test_protects_as_the_other_one_does(
    link: Link, body: bytes, counter: int, data_id: int
) -> None:
    ours = protected(link, body, counter, data_id)
    theirs = bytearray(12) + body
    theirs[2:4] = counter.to_bytes(2, "big")
    e2e.p04.e2e_p04_protect(theirs, data_id, increment_counter=False)
    assert ours == bytes(theirs)
    assert e2e.p04.e2e_p04_check(bytearray(ours), data_id)


@slow
@given(
    body=st.binary(max_size=60),
    data_id=st.integers(0, 0xFFFFFFFF),
    other_id=st.integers(0, 0xFFFFFFFF) | st.none(),
    bits=st.lists(st.integers(0, 8 * 72 - 1), max_size=6),
)
def test_accepts_and_refuses_as_the_other_one_does(
    link: Link, body: bytes, data_id: int, other_id: int | None, bits: list[int]
) -> None:
    theirs = bytearray(12) + body
    e2e.p04.e2e_p04_protect(theirs, data_id)
    for bit in bits:
        theirs[bit // 8 % len(theirs)] ^= 1 << bit % 8
    asked = data_id if other_id is None else other_id
    accepted = verdict(link, bytes(theirs), asked) == link.lib.EG_E2E_OK
    assert accepted == e2e.p04.e2e_p04_check(bytearray(theirs), asked)


@pytest.mark.parametrize("last", [0, 1, 0x7FFF, 0xFFFE, 0xFFFF])
@pytest.mark.parametrize(
    ("delta", "result"),
    [
        (0, "REPEATED"),
        (1, "OK"),
        (2, "OKSOMELOST"),
        (3, "OKSOMELOST"),
        (4, "WRONGSEQUENCE"),
        (-1, "WRONGSEQUENCE"),
    ],
)
def test_results_of_the_profile(link: Link, last: int, delta: int, result: str) -> None:
    """MaxDeltaCounter is 3; across the counter's wrap."""
    frame: Any = bytearray(20)
    frame[2:4] = ((last + delta) & 0xFFFF).to_bytes(2, "big")
    e2e.p04.e2e_p04_protect(frame, 5, increment_counter=False)
    assert verdict(link, bytes(frame), 5, last) == getattr(link.lib, f"EG_E2E_{result}")

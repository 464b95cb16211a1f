# SPDX-License-Identifier: Apache-2.0
"""COBS against PyPI's cobs."""

from __future__ import annotations

from cobs import cobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core_link.conftest import Link

slow = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
few = st.sampled_from([0, 0, 1, 2, 3, 0xFE, 0xFF])  # bytes that mean something to a decoder
odd = st.lists(few | st.integers(0, 255), max_size=300).map(bytes)
MOST = 254


def encoded(link: Link, data: bytes) -> bytes:
    out = link.ffi.new(f"uint8_t[{MOST + 1}]")
    return bytes(out[0 : link.lib.eg_cobs_encode(data, len(data), out)])


def decoded(link: Link, data: bytes, room: int) -> bytes:
    out = link.ffi.new(f"uint8_t[{room + 1}]")
    out[room] = 0xEE
    n = link.lib.eg_cobs_decode(data, len(data), out, room)
    assert n <= room and out[room] == 0xEE
    return bytes(out[0:n])


def by_the_other(data: bytes) -> bytes:
    """b'' for what is no frame, as eg_cobs_decode has it."""
    try:
        return bytes(cobs.decode(data))
    except cobs.DecodeError:
        return b""


@slow
@given(data=odd)
def test_encodes_as_the_other_one_does(link: Link, data: bytes) -> None:
    assert encoded(link, data[:MOST]) == cobs.encode(data[:MOST])


@slow
@given(data=odd)
def test_decodes_what_the_other_one_encoded(link: Link, data: bytes) -> None:
    wire = cobs.encode(data)
    assert decoded(link, wire, len(data)) == data
    if data:
        assert decoded(link, wire, len(data) - 1) == b"", "no room"


@slow
@given(wire=odd)
def test_takes_and_refuses_as_the_other_one_does(link: Link, wire: bytes) -> None:
    assert decoded(link, wire, 300) == by_the_other(wire)

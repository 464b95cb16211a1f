# SPDX-License-Identifier: Apache-2.0
"""AES-128-CMAC against the cryptography package (OpenSSL)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core_link.conftest import Link

KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
TEXT = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
slow = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))


def tag_of(link: Link, key: bytes, head: bytes, tail: bytes) -> bytes:
    out = link.ffi.new("uint8_t[8]")
    link.lib.eg_cmac(key, head, len(head), tail, len(tail), out)
    return bytes(out)


def by_the_other(key: bytes, text: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(text)
    return mac.finalize()[:8]


@pytest.mark.parametrize(
    ("n", "mac"),
    [
        (0, "bb1d6929e9593728"),
        (16, "070a16b46b4d4144"),
        (40, "dfa66747de9ae630"),
        (64, "51f0bebf7e3b9d92"),
    ],
)
def test_rfc_4493(link: Link, n: int, mac: str) -> None:
    assert tag_of(link, KEY, TEXT[:n], b"").hex() == mac


@slow
@given(key=st.binary(min_size=16, max_size=16), head=st.binary(), tail=st.binary(max_size=100))
def test_tag_is_the_one_of_openssl(link: Link, key: bytes, head: bytes, tail: bytes) -> None:
    assert tag_of(link, key, head, tail) == by_the_other(key, head + tail)


@slow
@given(a=st.binary(min_size=8, max_size=8), b=st.binary(min_size=8, max_size=8))
def test_tags_are_equal_only_when_they_are(link: Link, a: bytes, b: bytes) -> None:
    assert link.lib.eg_tag_equal(a, b) == (a == b)
    assert link.lib.eg_tag_equal(a, bytes(a))


def test_chain_of_the_c_test(link: Link) -> None:
    """The constant in native/core/tests/test_cmac.c, made by OpenSSL."""
    key, data, tag = bytearray(KEY), bytearray(80), b""
    for r in range(1000):
        tag = by_the_other(bytes(key), bytes(data[: r % 80]))
        for i in range(8):
            key[(r + i) % 16] ^= tag[i]
            data[(3 * r + i) % 80] ^= tag[i]
    assert tag.hex() == "29aa01de0f4600ae"

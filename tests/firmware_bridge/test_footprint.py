# SPDX-License-Identifier: Apache-2.0
"""The stack's bound: what it adds up, and what it refuses to bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_bridge.mcu import elf
from firmware_bridge.mcu.footprint import Graph, Unbounded
from firmware_bridge.native import lib


def node(name: str, size: str) -> str:
    return f'node: {{ title: "{name}" label: "{name}\\nf.c:1:1\\n{size}" }}\n'


def edge(caller: str, callee: str) -> str:
    return f'edge: {{ sourcename: "{caller}" targetname: "{callee}" label: "f.c:1:1" }}\n'


STATIC = "{} bytes (static)".format
A = node("a", STATIC(8))


def test_the_deepest_way_counts() -> None:
    graph = Graph()
    graph.read(
        node("main", STATIC(8)) + node("a", STATIC(100)) + node("b", STATIC(20))
        + edge("main", "a") + edge("main", "b") + edge("b", "c")
    )  # fmt: skip
    graph.read(node("c", STATIC(90)) + edge("c", "memcpy"))
    graph.add_library({"memcpy": (16, set()), "main": (0, set())})
    assert graph.deepest("main") == (134, ["main", "b", "c", "memcpy"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (A + edge("a", "b") + node("b", STATIC(8)) + edge("b", "a"), "recursion: a > b > a"),
        (A + edge("a", "a"), "recursion: a > a"),
        (A + edge("a", "__indirect_call"), "__indirect_call: nobody knows"),
        (node("a", "24 bytes (dynamic)"), "a: its stack is dynamic"),
    ],
)  # fmt: skip
def test_what_has_no_bound_is_refused(text: str, said: str) -> None:
    graph = Graph()
    with pytest.raises(Unbounded, match=said):
        graph.read(text)
        graph.deepest("a")


def test_crc_is_the_firmwares() -> None:
    for data in (b"", b"123456789", bytes(range(256))):
        assert elf.crc32p4(data) == lib.eg_crc_end(lib.eg_crc(lib.EG_CRC_START, data, len(data)))


def test_another_file_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "x.elf"
    path.write_bytes(b"\x7fELF\x02\x01" + bytes(60))
    with pytest.raises(ValueError, match=r"x\.elf: not a 32-bit little-endian ELF file"):
        elf.Elf(path)

# SPDX-License-Identifier: Apache-2.0
"""The page: well formed, one file, and it says what happened."""

from __future__ import annotations

import re
import struct
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeguard.config import GuardConfig
from edgeguard.decision import CAUSES, Mode
from edgeguard.png import encode
from edgeguard.streams.page import render
from edgeguard.streams.programme import programme
from edgeguard.streams.report import Results, failures, figures
from edgeguard.streams.run import Recorder, Run
from edgeguard.streams.stream import SignStream
from edgeguard.streams.timeline import picture

VOID = {"meta", "img", "link", "br"}


@pytest.fixture
def results(stream: SignStream, policy: GuardConfig) -> Results:
    """Everybody drives at 10 km/h; the bare model races when it is attacked."""
    entries = programme(stream)
    events = tuple(entry.event for entry in entries)
    clean = Run(stream, (), slow(stream), policy)
    guard, bare = (Run(stream, events, slow(stream), policy, clean) for _ in range(2))
    for event in events:
        start, stop = guard.tick(event.start), guard.tick(event.stop)
        for cause in event.fault.causes[:1]:
            guard.timeline.causes[start + 1 : stop] = 1 << CAUSES.index(cause)
            guard.timeline.mode[start + 1 : stop] = Mode.FALLBACK
        bare.timeline.command[start:stop] = np.linspace(10.0, 40.0, stop - start)
    return Results(entries, clean, guard, bare)


def slow(stream: SignStream) -> Recorder:
    recorder = Recorder(stream.ticks)
    recorder.command[:] = recorder.speed[:] = 10 / 3.6
    return recorder


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and not (value or "").startswith("data:image/png;base64,"):
                self.outside.append(f"{tag} {name}={value}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def test_the_page_is_well_formed_and_loads_nothing(results: Results) -> None:
    page = render(results, figures(results))
    parser = Balanced()
    parser.feed(page)
    assert parser.open == [] and parser.outside == []
    assert "url(" not in page and "@import" not in page and "<script" not in page
    assert not re.search(r"\$[a-z]", page), "a placeholder was left"


def test_the_picture_is_xml_with_all_lines_inside(results: Results) -> None:
    root = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", picture(results), count=1))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    lines = root.findall("polyline")
    assert {"limit", "bare", "guard", "car", "outside"} == {line.attrib["class"] for line in lines}
    for line in lines:
        points = np.array([p.split(",") for p in line.attrib["points"].split()], float)
        assert (points >= 0).all() and (points <= (width, height)).all()
    assert len(root.findall("g")) == len(results.entries)
    assert len(root.findall("image")) == len(results.guard.stream.tracks)


def test_it_says_what_went_wrong(results: Results) -> None:
    good = render(results, figures(results))
    assert "no wrong command got through" in good and failures(figures(results)) == []
    results.guard.timeline.command[6000:6010] = 40.0
    fresh = Results(
        results.entries, results.clean,
        Run(results.guard.stream, results.guard.events, results.guard.timeline,
            results.guard.config, results.clean),
        results.bare,
    )  # fmt: skip
    failed = [figure.id for figure in failures(figures(fresh))]
    assert "demo.wrong_commands" in failed
    assert "demo.wrong_commands" in render(fresh, figures(fresh)).split("</p>")[0]


def test_png_pixels_come_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    data = encode(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    at = data.index(b"IDAT")
    length = struct.unpack(">I", data[at - 4 : at])[0]
    rows = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + length]), np.uint8)
    rows = rows.reshape(height, 1 + 3 * width)
    assert (rows[:, 0] == 0).all()
    assert np.array_equal(rows[:, 1:].reshape(height, width, 3), pixels)

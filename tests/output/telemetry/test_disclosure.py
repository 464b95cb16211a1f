# SPDX-License-Identifier: Apache-2.0
"""What leaves the deciding process under each disclosure: every byte of it is read."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from edgeguard.output.telemetry.disclosure import MOST_PIXELS, _channel, picture
from edgeguard.output.telemetry.process import Link
from tests.output.telemetry import conftest
from tests.output.telemetry.conftest import SURE, Served, Shown

TOP = {
    "sequence", "mode", "causes", "present", "active", "operator_request", "channels", "members",
    "cameras", "decided_unix_ms", "risk", "request",
}  # fmt: skip
CHANNEL = {"votes", "voters", "label", "command"}
MEMBER = {"alive", "age_ms", "heard", "label"}
SCORES = {"value", "margin", "entropy", "energy"}


def all_of(theirs: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(theirs.recv(1 << 20))
        except BlockingIOError:
            return found


def scan(data: bytes) -> set[str]:
    """What must not be there in `label`: certainties, scores by name, pictures."""
    words = ["certainty", "margin", "entropy", "energy", "embedding", "scores", "image/png"]
    found = {word for word in words if word.encode() in data}
    found |= {
        name for name, sure in SURE.items() if re.search(rb"(?<!\d)0\.%d" % int(1000 * sure), data)
    }
    pixels = conftest.picture()
    for row in (pixels[::1], pixels[..., ::-1]):
        found |= {"pixels" for line in row[:16] if line[8:24].tobytes() in data}
    return found


def leaves(pair: tuple[Link, socket.socket], folder: Path, disclosure: str) -> list[bytes]:
    link, theirs = pair
    shown = Shown(folder, disclosure, link)
    found = []
    for _ in range(30):
        shown.run(10)
        found += all_of(theirs)
        shown.all_is_due()
    assert shown.bench.decision.evidence["target_speed"]["votes"] == 3
    return found


def snapshots(messages: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(data[1:]) for data in messages if data[:1] == b"S"]


def test_label_lets_out_answers_and_nothing_more(
    pair: tuple[Link, socket.socket], tmp_path: Path
) -> None:
    found = leaves(pair, tmp_path, "label")
    assert {data[:1] for data in found} == {b"S", b"T"}
    assert scan(b"".join(found)) == set()
    for said in snapshots(found):
        assert set(said) == TOP
        assert all(set(channel) == CHANNEL for channel in said["channels"].values())
        assert all(set(member) == MEMBER for member in said["members"].values())


def test_rounded_adds_one_decimal_of_certainty(
    pair: tuple[Link, socket.socket], tmp_path: Path
) -> None:
    found = leaves(pair, tmp_path, "rounded")
    assert {data[:1] for data in found} == {b"S", b"T"}
    assert scan(b"".join(found)) == {"certainty"}
    for said in snapshots(found):
        assert set(said) == TOP
        told = [*said["members"].values(), *said["channels"].values()]
        assert all(set(one) == MEMBER | {"certainty"} for one in said["members"].values())
        assert all(set(one) == CHANNEL | {"certainty"} for one in said["channels"].values())
        assert all(one["certainty"] == round(one["certainty"], 1) for one in told)
    assert {name: m["certainty"] for name, m in said["members"].items()} == {
        "one": 1.0, "two": 0.9, "three": 0.8,
    }  # fmt: skip
    written = re.findall(rb'certainty": ([^,}]+)', b"".join(found))
    assert len(written) == 4 * len(snapshots(found))  # three members and a channel
    assert all(re.fullmatch(rb"[01]\.\d", number) for number in written)


def test_full_shows_what_the_others_keep_back(
    pair: tuple[Link, socket.socket], tmp_path: Path
) -> None:
    found = leaves(pair, tmp_path, "full")
    assert scan(b"".join(found)) >= {"certainty", "margin", "pixels", *SURE}
    said = snapshots(found)[-1]
    assert said["members"]["three"]["certainty"] == pytest.approx(SURE["three"], abs=1e-4)
    assert set(said["members"]["one"]) == MEMBER | SCORES | {"certainty"}


@pytest.mark.parametrize("disclosure", ["label", "rounded"])
def test_the_commands_of_a_value_channel_are_its_models_values(
    pair: tuple[Link, socket.socket], tmp_path: Path, disclosure: str
) -> None:
    link, _ = pair
    shown = Shown(tmp_path, disclosure, link)
    config, cards = shown.bench.guard.config, shown.feed._cards
    value = evolve(config, channels={"v": evolve(config.channels["target_speed"], kind="value")})
    said = {"votes": 1, "voters": 1, "certainty": 0.5, "label": -1}
    assert "command" not in _channel(value, cards, "v", said, 12.5)


def test_label_over_http(served: Served, tmp_path: Path) -> None:
    shown = Shown(tmp_path, "label", served)
    shown.run(120)
    served.event()
    everything = b""
    for path in ("/", "/metrics", "/frame.png", "/part.png", "/frame.png?1"):
        status, body, _ = served.ask("GET", path)
        assert status == (404 if "png" in path else 200)
        everything += body if path != "/" else b""  # the page itself is the same for all
    everything += json.dumps(served.event()).encode()
    assert scan(everything) == set()
    assert b"twenty" in everything


@pytest.mark.parametrize(
    ("pixel_format", "shape"),
    [("BGR", (480, 640, 3)), ("RGB", (481, 641, 3)), ("BGRA", (48, 64, 4)), ("GRAY", (1080, 1920)),
     ("YUYV", (480, 640, 2)), ("NV12", (720, 640)), ("BGR", (1, 16384, 3))],
)  # fmt: skip
def test_pictures_are_small_and_upright(pixel_format: str, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    found = picture(image, pixel_format)
    height = shape[0] * 2 // 3 if pixel_format == "NV12" else shape[0]
    assert found.shape[0] * found.shape[1] <= MOST_PIXELS
    step = -(-height // found.shape[0])
    expected = {"BGR": image[..., 2:3], "BGRA": image[..., 2:3]}.get(pixel_format, image)
    first = found.reshape(*found.shape[:2], -1)[..., 0]
    plane = expected[:height].reshape(height, shape[1], -1)[..., 0]
    assert height == 1 or np.array_equal(first, plane[::step, ::step])

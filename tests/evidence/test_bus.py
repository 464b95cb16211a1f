# SPDX-License-Identifier: Apache-2.0
"""CAN intrusion: what is learnt of a bus, what a monitor says of it, and a car's own traces."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import ConfigError
from edgeguard.evidence.bus import MOST, REMEMBERED, Frame, Monitor, learn, load, save


def bus(seconds=20.0, seed=0, start=0.0):
    """Two units: 0x10 every 10 ms with a counter, 0x20 every 50 ms with a state that rarely
    changes; times jitter by a millisecond."""
    rng = np.random.default_rng(seed)
    frames = []
    for identifier, period in ((0x10, 0.01), (0x20, 0.05)):
        for i, t in enumerate(np.arange(start, start + seconds, period)):
            counter = i % 2**32
            data = (
                counter.to_bytes(4, "big") + b"\x80\x00\x00\x80"
                if identifier == 0x10
                else bytes([1 if i % 100 < 50 else 2, 0x55, 0xAA, 0])
            )
            frames.append(Frame(float(t + rng.uniform(0, 0.001)), identifier, data))
    return sorted(frames)


@pytest.fixture(scope="module")
def model():
    return learn(bus())


def numbers(model, frames):
    monitor = Monitor(model)
    for frame in sorted(frames):
        monitor.frame(frame)
    return monitor.numbers()


def test_what_was_learnt_is_normal(model):
    found = numbers(model, bus(seed=1))
    assert found["rate"] == pytest.approx(1.0, abs=0.1)
    assert found["unknown"] == found["replay"] == 0.0 and found["payload"] <= 1.0
    assert numbers(model, []) == {"rate": 0.0, "unknown": 0.0, "payload": 0.0, "replay": 0.0}


@pytest.mark.parametrize(
    ("extra", "feature", "least"),
    [
        (Frame(5.0051, 0x10, bytes([0, 0, 1, 244, 0x80, 0, 0, 0x80])), "rate", 1.5),
        (Frame(5.0, 0x7FF, b"12345678"), "unknown", 1.0),
        (Frame(5.0, 0x20, b"12345678"), "unknown", 1.0),  # another length
        (Frame(5.02, 0x20, b"\xfe\xaa\x55\xff"), "payload", 50.0),
        (Frame(5.005, 0x10, bytes([0, 0, 1, 100, 0x80, 0, 0, 0x80])), "replay", 1.0),
    ],
    ids=["too soon", "unknown", "other length", "random payload", "an old payload"],
)
def test_one_strange_frame_is_found(model, extra, feature, least):
    assert numbers(model, [*bus(), extra])[feature] >= least


def test_a_flood_of_a_known_identifier_is_a_rate(model):
    flood = [Frame(5 + i * 1e-4, 0x10, b"\0" * 8) for i in range(200)]
    assert numbers(model, [*bus(), *flood])["rate"] > 50
    assert numbers(model, [Frame(1.0, 0x10, b"\0" * 8)] * 2)["rate"] == 0.0  # no time between


def test_a_clock_that_is_set_back_is_no_flood(model):
    monitor = Monitor(model)
    for t_s in (100.0, 40.0, 40.01):
        monitor.frame(Frame(t_s, 0x10, b"\0" * 8))
    assert monitor.numbers()["rate"] == pytest.approx(1.0, abs=0.15)


def test_numbers_begin_anew_each_time(model):
    monitor = Monitor(model)
    monitor.frame(Frame(0.0, 0x7FF, b""))
    assert monitor.numbers()["unknown"] == 1.0
    assert monitor.numbers()["unknown"] == 0.0


def test_an_identifier_seen_once_has_no_rhythm():
    model = learn([*bus(2.0), Frame(1.0, 0x1, b"\0")])
    assert math.isinf(model[0x1].shortest_s)
    twice = numbers(model, [Frame(0.0, 0x1, b"\0"), Frame(9.0, 0x1, b"\xff")])
    assert twice["rate"] == MOST and twice["payload"] == twice["replay"] == 0.0


def test_replays_are_remembered_for_a_while_and_no_longer(model):
    old = [Frame(i * 0.01, 0x10, i.to_bytes(8, "big")) for i in range(REMEMBERED + 2)]
    late = Frame(100.0, 0x10, (0).to_bytes(8, "big"))
    soon = Frame(100.0, 0x10, (5).to_bytes(8, "big"))
    assert numbers(model, [*old, late])["replay"] == 0.0
    assert numbers(model, [*old, soon])["replay"] == 1.0


def test_what_was_learnt_is_written_and_read(model, tmp_path):
    learnt = model | learn([Frame(0.0, 0x1, b"\0")])
    save(learnt, tmp_path / "bus.json")
    assert load(tmp_path / "bus.json") == learnt
    for text in ("", "[]", '{"zz": {}}', '{"10": {"frames": 1}}', '{"10": 3}'):
        (tmp_path / "bus.json").write_text(text)
        with pytest.raises(ConfigError, match=r"bus\.json"):
            load(tmp_path / "bus.json")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("most_bits", math.nan, "10: bits, most_bits: nan is no information"),
        ("most_bits", math.inf, "10: bits, most_bits: inf is no information"),
        ("bits", [math.nan] * 64, "10: bits, most_bits: nan is no information"),
        ("bits", [-1.0] * 64, "10: bits, most_bits: -1.0 is no information"),
        ("bits", [1.0] * 63, r"10: bits: 63 numbers, for payloads of \[8\] bytes"),
        ("lengths", [], "10: lengths: there is none"),
        ("lengths", [-1, 8], r"10: bits: 64 numbers, for payloads of \[-1, 8\] bytes"),
        ("shortest_s", math.nan, "10: shortest_s: nan is no time"),
        ("shortest_s", 0.0, "10: shortest_s: 0.0 is no time"),
    ],
)
def test_what_nobody_learns_is_refused(model, tmp_path, key, value, said):
    path = tmp_path / "bus.json"
    save(model, path)
    table = json.loads(path.read_text())
    table["10"][key] = value
    path.write_text(json.dumps(table))
    with pytest.raises(ConfigError, match=rf"bus\.json: is not what was learnt .*{said}"):
        load(path)


def test_attacks_on_a_car_are_found_where_a_frequency_detector_is_blind(capfd):
    root = Path(os.environ.get("EDGEGUARD_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "streams" / "can_v40").is_dir():
        pytest.skip("the V40 traces are not here (EDGEGUARD_DATA)")
    from edgeguard.lab.zoo.can import evaluate

    assert evaluate(root) == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines()]
    found = {(r[0], r[1]): int(r[2]) / int(r[4]) for r in rows if r[3:4] == ["of"]}
    assert found["dos", "all"] == found["dos", "frequency"] == 1.0
    assert found["fuzzing", "all"] > 0.9 and found["replay", "all"] > 0.6
    assert found["fuzzing", "frequency"] < 0.1 and found["replay", "frequency"] < 0.1


@given(st.lists(st.binary(max_size=64), max_size=6))
def test_no_payload_of_any_length_raises(model, payloads):
    monitor = Monitor(model)
    for i, data in enumerate(payloads):
        monitor.frame(Frame(i * 0.01, 0x10, data))
    assert monitor.numbers()["unknown"] == sum(len(data) != 8 for data in payloads)


def test_a_stamp_that_stood_twice_when_learning_does_not_hide_a_flood():
    clean = bus()
    model = learn(sorted([*clean, Frame(clean[0].t_s, *clean[0][1:])]))
    flood = [Frame(5 + i * 1e-4, 0x10, b"\0" * 8) for i in range(200)]
    assert numbers(model, [*bus(), *flood])["rate"] > 50

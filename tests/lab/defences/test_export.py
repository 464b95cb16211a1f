# SPDX-License-Identifier: Apache-2.0
"""The rows that a detector leaves behind load, and make the number's limit that of the core."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs its extra")

from edgeguard import Guard, config  # noqa: E402
from edgeguard.card import Card  # noqa: E402
from edgeguard.config.toml import read as read_toml  # noqa: E402
from edgeguard.lab.attacks.victim import Victim  # noqa: E402
from edgeguard.lab.defences.embedded import Distance, Embedded, shipped_fits  # noqa: E402
from edgeguard.lab.defences.export import history_rows, signal_rows, write  # noqa: E402
from edgeguard.lab.defences.learned import Learned  # noqa: E402
from edgeguard.lab.defences.squeeze import Squeezing  # noqa: E402
from edgeguard.lab.defences.together import Together  # noqa: E402
from edgeguard.zoo import models_dir  # noqa: E402

POLICY = """
[guard]
name = "watched"
period_ms = 10

[signal.speed]
unit = "m/s"
range = [0.0, 60.0]

[member.plain]
card = "{card}"
runtime = "external"
deadline_ms = 200
max_age_ms = 350
may_suggest = ["target"]

[camera.front]
rate_hz = 10
max_age_ms = 250

[rearm]
standstill_signal = "speed"
standstill_below = 0.1

[channel.target]
unit = "m/s"
range = [0.0, 20.0]
rise = 2.0
fall = 4.0
stop = 0.0
measured = "speed"
fallback = {{ controller = "slow_and_hold", floor = 2.0 }}
raise = {{ certainty = 0.9, quorum = 1 }}
lower = {{ certainty = 0.9, quorum = 1 }}
"""
INSIDE = 'model = "{model}"\nruntime = "onnx"\ncamera = "front"'


def plain(pixels) -> Embedded:
    card = Card.load(models_dir() / "plain.card.json")
    return Embedded(Victim(card.model_path, pixels, card))


def tripped(rows: str, name: str, value: float, folder) -> bool:
    path = folder / "guard.toml"
    path.write_text(POLICY.format(card=models_dir() / "plain.card.json") + rows)
    with Guard.load(path) as guard:
        guard.arm()
        return name in guard.decide({"speed": 0.0, name: value}, 10_000_000).detectors


@pytest.mark.parametrize(("value", "trips"), [(0.25, False), (0.5, False), (0.5001, True)])
def test_a_number_is_held_against_its_limit(value, trips, tmp_path):
    assert tripped(signal_rows("odd", 0.5), "odd", value, tmp_path) is trips


def test_the_loop_of_the_page_passes_the_number_that_the_rows_are_about(tmp_path):
    """docs/lab/defend.md, as it stands there: no signal is missing, noise trips, clean does not."""
    with np.load(models_dir() / "plain.golden.npz") as golden:
        clean = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
    noise = np.random.default_rng(5).integers(-90, 91, clean.shape)
    shown = np.concatenate([clean[:2], (clean + noise).clip(0, 255).astype(np.uint8)])
    detector = Squeezing(plain(clean).victim)
    detector.fit(clean)
    numbers = detector.measured(shown)
    detector.limit = float((numbers[:2].max() + numbers[2:].max()) / 2)
    write(tmp_path, "plain", detector)
    rows = (tmp_path / "plain.squeezing.toml").read_text()
    assert f"Units: {detector.units[0]:.6g} at temperature 1, " in rows
    (tmp_path / "guard.toml").write_text(
        POLICY.format(card=models_dir() / "plain.card.json") + rows
    )
    page = (Path(__file__).resolve().parents[3] / "docs/lab/defend.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(# squeezed\.py\n.*?)^```$", page, re.M | re.S)
    found: dict[str, Any] = {}
    exec(compile(program, "squeezed.py", "exec"), found)
    frames = [np.ascontiguousarray(p.transpose(1, 2, 0)[..., ::-1]) for p in shown]
    stamped = [(None, 10_000_000)] + [(f, (i + 2) * 10_000_000) for i, f in enumerate(frames)]
    with Guard.load(tmp_path / "guard.toml") as guard:
        guard.arm()
        model = models_dir() / "plain.onnx"
        drive = found["drive"](guard, model, clean, detector.units, stamped, {"speed": 0.0})
        said = [(d.present, "plain_squeezing" in d.detectors) for d in drive]
    assert not any("INPUT_INVALID" in present for present, _ in said)
    wanted = [False, *(numbers > detector.limit).tolist()]
    assert [tripped for _, tripped in said] == wanted
    assert True in wanted


def test_what_the_history_counts_has_a_row_that_loads(tmp_path):
    made = history_rows("plain", {"limit.echoes": 28.0, "limit.flips": 4.0, "limit.matches": 9.0})
    policy = POLICY.replace('card = "{card}"\nruntime = "external"', INSIDE)
    path = tmp_path / "guard.toml"
    path.write_text(policy.format(model=models_dir() / "plain.onnx") + made)
    found = config.load(path).detectors
    assert {name: d.above for name, d in found.items()} == {"plain_echoes": 28, "plain_flips": 4}


def test_side_by_side_has_a_file_of_its_own_with_the_limits_of_the_whole(tmp_path):
    with np.load(models_dir() / "plain.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
    model = plain(pixels)
    fits = shipped_fits(models_dir() / "ood.toml", "plain")
    parts = [Distance(model, feature, fits[feature]) for feature in ("nearest", "vim")]
    whole = Together(parts)
    whole.fit(np.concatenate([pixels] * 3))
    write(tmp_path, "plain", parts[0])
    single = (tmp_path / "plain.nearest.toml").read_text()
    whole.limit = 1.5
    write(tmp_path, "plain", whole)
    assert (tmp_path / "plain.nearest.toml").read_text() == single
    assert {f.name for f in tmp_path.iterdir()} == {"plain.nearest.toml", "plain.nearest+vim.toml"}
    made = read_toml(tmp_path / "plain.nearest+vim.toml")[0]["detector"]
    for part in parts:
        wanted = part.limit + 0.5 * abs(part.limit)
        assert made[f"plain_{part.name}"]["above"] == pytest.approx(wanted, rel=1e-4)


def test_the_runtime_loads_what_was_learned_and_computes_the_same(tmp_path):
    with np.load(models_dir() / "plain.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
    noise = np.random.default_rng(5).integers(-40, 41, pixels.shape)
    noisy = (pixels + noise).clip(0, 255).astype(np.uint8)
    model = plain(pixels)
    detector = Learned.fitted(model, pixels, [noisy])
    detector.limit = float(
        np.mean([detector.measured(pixels).max(), detector.measured(noisy).min()])
    )
    write(tmp_path, "plain", detector)
    policy = POLICY.replace('card = "{card}"\nruntime = "external"', INSIDE)
    policy = policy.replace(
        "period_ms = 10", 'period_ms = 10\ncalibration = "plain.learned.calibration.toml"'
    )
    path = tmp_path / "guard.toml"
    rows = (tmp_path / "plain.learned.toml").read_text()
    path.write_text(policy.format(model=models_dir() / "plain.onnx") + rows)
    tripped = []
    with Guard.load(path) as guard:
        guard.arm()
        for i, picture in enumerate((*pixels[:4], *noisy[:4])):
            t_ns = (i + 1) * 100_000_000
            guard.observe(
                "front", np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1]), t_ns
            )
            for tick in range(5):
                said = guard.decide({"speed": 0.0}, t_ns + tick * 10_000_000)
            tripped.append("plain_learned" in said.detectors)
    assert tripped == [False] * 4 + [True] * 4

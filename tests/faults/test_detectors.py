# SPDX-License-Identifier: Apache-2.0
"""Detectors at the actuator: what the car is told when an association breaks, when a model sees
what it never saw, when the bus is silent and when the risk rises."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgeguard import Guard, config
from edgeguard.card import Card
from edgeguard.config.vocabulary import EMBEDDING_FEATURES
from edgeguard.errors import ConfigError
from edgeguard.evidence import embedding
from edgeguard.inference.model import load_model
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.zoo import models_dir
from tests.faults.bench import PERIOD_MS, POLICY, Bench, certain, write_policy

SIGNALS = """
[signal.throttle]
unit = "1"
range = [0.0, 1.0]

[signal.brake]
unit = "1"
range = [0.0, 1.0]

[signal.wheel]
unit = "m/s"
range = [0.0, 70.0]
"""
PEDALS = """
[detector.pedals]
kind = "association"
between = ["throttle", "brake"]
relation = "product"
above = 0.05
"""
WHEEL = """
[detector.wheel]
kind = "association"
between = ["speed", "wheel"]
relation = "difference"
above = 1.0
below = -1.0
"""
RESPONSE = """
[detector.response]
kind = "association"
between = ["speed", "channel.target_speed"]
relation = "difference"
delay_ms = 500
above = 3.0
below = -8.0
"""
JUMP = """
[detector.jump]
kind = "association"
between = ["one", "channel.target_speed"]
relation = "difference"
above = 8.0
"""
SURGE = """
[detector.surge]
kind = "association"
between = ["speed"]
relation = "rate"
delay_ms = 100
above = 15.0
below = -15.0
"""
ON_MS, OFF_MS = 200, 1000  # the default row of ASSOCIATION_BROKEN


def bench(folder: Path, *detectors: str) -> Bench:
    made = Bench(write_policy(folder, POLICY + SIGNALS + "".join(detectors)))
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    return made


def acting(made: Bench) -> set[str]:
    """The active causes but for an operation that asks for more evidence, which is normal."""
    return set(made.decision.causes) - {"OPERATION_DENIED"}


def until_fallback(made: Bench, label: str = "twenty", ms: float = 1000) -> float:
    """How long until the rules command, in ms; the models go on saying what they said."""
    for i in range(round(ms / PERIOD_MS)):
        if made.run(PERIOD_MS, label).mode.name != "NOMINAL":
            return (i + 1) * PERIOD_MS
    raise AssertionError(f"still NOMINAL after {ms} ms")


@pytest.mark.parametrize(
    ("detector", "name", "broken"),
    [
        (PEDALS, "pedals", {"brake": 0.6}),
        (WHEEL, "wheel", {"wheel": 12.0}),
        (WHEEL, "wheel", {"wheel": 28.0}),
    ],
)
def test_a_broken_association_hands_over_to_the_rules_and_is_named(
    tmp_path, detector, name, broken
):
    made = bench(tmp_path, detector).nominal()
    before = made.command
    whole = dict(made.signals)
    made.signals |= broken
    assert until_fallback(made) <= ON_MS + 2 * PERIOD_MS
    assert acting(made) == {"ASSOCIATION_BROKEN"}
    assert made.decision.detectors == (name,)
    start = len(made.commands)
    made.run(2000, "thirty")  # the models ask for more, in vain
    told = np.array(made.commands[start:])
    assert (np.diff(told) <= 0).all() and told[-1] < before
    assert (np.diff(told) >= -4.0 * PERIOD_MS / 1000 - 1e-4).all()  # and within the envelope
    made.signals = whole
    made.run(OFF_MS + 3 * PERIOD_MS, "twenty")
    assert made.decision.mode.name == "NOMINAL" and made.decision.detectors == ()


def test_a_car_that_does_not_do_what_it_is_told_is_named(tmp_path):
    made = bench(tmp_path, RESPONSE).nominal()
    for _ in range(300):
        made.signals["speed"] = made.command
        assert made.run(PERIOD_MS, "ten").mode.name == "NOMINAL"
    stuck = made.signals["speed"]
    made.run(6000, "stop")  # the command goes down, the car does not
    assert made.decision.detectors == ("response",) and acting(made) == {"ASSOCIATION_BROKEN"}
    assert made.command < stuck - 3.0
    for _ in range(400):
        made.signals["speed"] = made.command
        made.run(PERIOD_MS, "stop")
    assert made.decision.mode.name == "NOMINAL"


def test_a_whole_association_never_trips(tmp_path):
    made = bench(tmp_path, PEDALS, WHEEL, RESPONSE, JUMP, SURGE).nominal()
    for i in range(300):
        made.signals |= {"wheel": 20.0 + 0.9 * np.sin(i / 3), "throttle": (i % 10) / 10}
        assert made.run(PERIOD_MS, "twenty").mode.name == "NOMINAL", made.decision.detectors


def test_a_limit_far_above_the_one_in_force_is_not_followed(tmp_path):
    made = bench(tmp_path, JUMP).nominal()
    made.run(3000, "ten")
    assert made.command == pytest.approx(10.0, abs=0.01)
    below = made.command
    assert until_fallback(made, "thirty") <= ON_MS + 8 * PERIOD_MS  # the next frame comes first
    assert made.decision.detectors == ("jump",)
    made.run(3000, "thirty")
    assert made.command <= below + 1.5 * 0.3  # the ramp of the debounce, no more


def test_a_speed_that_jumps_is_named(tmp_path):
    made = bench(tmp_path, SURGE).nominal()
    for i in range(40):
        made.signals["speed"] = 20.0 + 0.3 * i  # 30 m/s2
        made.run(PERIOD_MS, "twenty")
    assert "surge" in made.decision.detectors
    assert made.decision.mode.name == "FALLBACK"


def test_an_operand_that_is_gone_breaks_it_too(tmp_path):
    made = bench(tmp_path, PEDALS).nominal()
    del made.signals["brake"]
    made.run(30, "twenty")
    assert set(made.decision.present) == {"INPUT_INVALID", "ASSOCIATION_BROKEN"}
    made.run(100, "twenty")
    assert made.decision.mode.name == "SAFE_STOP" and "INPUT_INVALID" in made.decision.causes


def test_after_a_jump_of_the_clock_the_past_is_forgotten(tmp_path):
    made = bench(tmp_path, RESPONSE).nominal()
    made.tick(-1000)
    assert "TIME_FAULT" in made.decision.present
    made.run(400, "twenty")
    assert "ASSOCIATION_BROKEN" not in made.decision.present


BUS = """
[detector.strangers]
kind = "bus"
feature = "unknown"
above = 0.5
max_age_ms = 100
"""


def test_a_bus_that_nobody_reads_is_not_trusted(tmp_path):
    made = bench(tmp_path, BUS)
    made.guard.arm()
    made.run(500, "twenty")
    assert made.decision.causes[-1] == "BUS_INTRUSION" and made.decision.operator_request
    for _ in range(650):
        made.guard.bus({"unknown": 0.0}, made.now_ns)
        made.run(PERIOD_MS, "twenty")
    assert made.decision.mode.name == "NOMINAL"
    made.guard.bus({"unknown": 1.0}, made.now_ns)
    made.tick()
    assert (made.decision.mode.name, made.decision.detectors) == ("FALLBACK", ("strangers",))


RISK = """
[detector.risk]
kind = "risk"
max_false_trips_per_hour = 1.0
"""


def test_security_events_raise_the_risk(tmp_path):
    made = bench(tmp_path, RISK).nominal()
    assert made.guard.risk == 0
    made.guard.event("bus_intrusion")
    made.run(2 * PERIOD_MS, "twenty")
    assert (made.guard.risk, made.decision.mode.name) == (2, "FALLBACK")
    assert acting(made) == {"RISK_RAISED"} and not made.decision.operator_request
    made.guard.event("refused_file")
    made.run(2 * PERIOD_MS, "twenty")
    assert made.guard.risk == 3 and made.decision.operator_request
    assert acting(made) == {"RISK_RAISED", "RISK_HIGH"}
    made.run(63_000, "twenty")
    assert (made.guard.risk, made.decision.mode.name) == (0, "NOMINAL")
    with pytest.raises(ValueError, match="sandbox_violation"):
        made.guard.event("rain")


@pytest.mark.parametrize("stamp", [10**400, -(10**400), None, "now", 1.5])
def test_without_a_time_there_is_no_risk_level_and_that_is_a_risk(tmp_path, stamp):
    made = bench(tmp_path, RISK).nominal()
    for _ in range(3):
        decision = made.guard.decide(made.signals, stamp)
        assert "TIME_FAULT" in decision.present
    made.now_ns += 200_000_000  # nobody has given a level for longer than ten periods
    assert "RISK_RAISED" not in made.tick().present  # with a time there is one again
    assert made.guard.risk == 0


def test_wrong_tokens_are_security_events(tmp_path):
    path = write_policy(tmp_path, POLICY + SIGNALS + RISK)
    made = Bench(path, operator_token="right")
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    made.nominal()
    for _ in range(3):
        assert made.guard.rearm("wrong") == "wrong operator token"
        made.run(1010, "twenty")
    assert (made.guard.risk, made.decision.mode.name) == (2, "FALLBACK")


def calibrated(folder: Path, fits, toml: str) -> Path:
    """guard.toml with arrays beside it, as `edgeguard calibrate` leaves them."""
    data = embedding.to_bytes(fits)
    (folder / "calibration.npz").write_bytes(data)
    path = write_policy(
        folder, toml.replace("[guard]", '[guard]\ncalibration = "calibration.toml"')
    )
    cards = {}
    for name in ("one", "two", "three", "compact"):
        file = folder / f"{name}.card.json"
        cards[name] = json.loads(file.read_text())["sha256"] if file.exists() else None
    cards["compact"] = Card.beside(models_dir("gtsrb") / "compact.tflite").sha256
    models = "".join(f'[model.{n}]\nsha256 = "{s}"\n' for n, s in cards.items())
    digest = hashlib.sha256(data).hexdigest()
    (folder / "calibration.toml").write_text(
        f'{models}\n[arrays]\nfile = "calibration.npz"\nsha256 = "{digest}"\n'
    )
    return path


def test_what_is_no_trip_on_its_own_raises_the_risk_in_time(tmp_path):
    rng = np.random.default_rng(0)
    blocks = (rng.normal(-1.0, 0.1, 300) * 65536).astype(np.int64)  # far inside the limit of 1
    path = calibrated(tmp_path, {("wheel", "risk"): {"blocks": blocks}}, POLICY + SIGNALS + """
[detector.wheel]
kind = "association"
between = ["speed", "wheel"]
relation = "difference"
above = 1.0
""" + RISK)  # fmt: skip
    made = Bench(path)
    made.signals |= {"throttle": 0.4, "brake": 0.0, "wheel": 20.0}
    made.nominal()
    made.run(60_000, "twenty")
    assert made.guard.risk == 0 and made.decision.mode.name == "NOMINAL"
    made.signals["wheel"] = 19.5  # an offset that stays under the limit
    made.run(30_000, "twenty")
    assert made.guard.risk >= 2 and "RISK_RAISED" in made.decision.causes
    assert "ASSOCIATION_BROKEN" not in made.decision.present


CAMERA = """
[camera.front]
rate_hz = 10
max_age_ms = 250

[member.compact]
model = "package:gtsrb/compact"
runtime = "litert"
isolation = "{isolation}"
camera = "front"
deadline_ms = 100
max_age_ms = 350
may_suggest = ["target_speed"]

[detector.strange]
kind = "embedding"
member = "compact"
feature = "{feature}"
above = {above}
"""


@pytest.fixture(scope="module")
def known():
    """A picture of a sign, its near copies, and their embeddings by the shipped compact model."""
    card = Card.beside(models_dir("gtsrb") / "compact.tflite")
    model = load_model(card)
    golden = np.load(models_dir("gtsrb") / "compact.golden.npz")
    rng = np.random.default_rng(0)
    scenes = sign_pictures(golden, card)
    near = np.concatenate(
        [np.clip(s + rng.normal(0, 6, (60, *s.shape)), 0, 255).astype(np.uint8) for s in scenes]
    )
    camera = Camera({InputSpec.of(card.input): model.input}, "BGR")
    raw, scores = [], []
    for picture in near:
        camera.look(picture)
        model.run()
        raw.append(model.embedding.copy())
        scores.append(model.scores.copy())
    y = np.arange(len(scenes)).repeat(60)
    yield scenes, near, np.array(raw), np.array(scores), y, card
    model.close()


def sign_pictures(golden, card):
    """The golden inputs of the model, back as pictures: uint8 [n, 32, 32, 3]."""
    name = next(k for k in golden.files if golden[k].ndim >= 3)
    tensor = golden[name].reshape(-1, 32, 32, 3)
    return (tensor.astype(np.int16) + 128).astype(np.uint8)[..., ::-1].copy()


@pytest.mark.parametrize(
    ("feature", "isolation"),
    [*((feature, "none") for feature in EMBEDDING_FEATURES), ("nearest", "process")],
)
def test_a_picture_like_none_before_hands_over_to_the_rules(tmp_path, known, feature, isolation):
    _, near, raw, scores, y, card = known
    x = embedding.real(raw, card.embedding)
    fit = embedding.fit(feature, x, y, embedding.real(scores, card.scores).max(1))
    from edgeguard import _kernels

    spec = {"kind": card.scores.kind, "scale": card.scores.scale,
            "zero_point": card.scores.zero_point, "temperature": card.temperature}  # fmt: skip
    energy = _kernels.evidence_batch(scores, **spec)["energy"] / 65536
    made = embedding.kernel_fit(feature, card.embedding, fit)
    limit = float(_kernels.embedding_batch(raw, made, energy).max()) * 1.2 + 1.0
    more = CAMERA.format(isolation=isolation, feature=feature, above=round(limit, 3))
    path = camera_policy(tmp_path, {("compact", feature): fit}, more)
    with Guard.load(path) as guard:
        guard.arm()
        drive(guard, near[:10])
        calm = drive(guard, near[10:20])
        assert "OUT_OF_DISTRIBUTION" not in calm[-1].present
        noise = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
        seen = drive(guard, noise, start=20)
        assert "OUT_OF_DISTRIBUTION" in seen[-1].causes and seen[-1].detectors == ("strange",)
        assert seen[-1].mode.name == "FALLBACK"
        told = np.array([d.command["target_speed"] for d in seen[20:]])
        assert (np.diff(told) <= 0).all() and told[-1] < told[0]  # down to the floor of the rule


def camera_policy(folder, fits, more):
    """The bench's guard with the camera's member in place of its own."""
    one = POLICY.replace("quorum = 3", "quorum = 1").replace("quorum = 2", "quorum = 1")
    means = one.index("[channel.target_speed.means]"), one.index("[controller]")
    policy = one[: means[0]] + one[means[1] :] + more
    policy += '\n[channel.target_speed.means]\n"Speed limit (20km/h)" = 5.5\n'
    path = calibrated(folder, fits, policy)
    text = path.read_text()
    path.write_text(text[: text.index("[member.one]")])
    return path


def drive(guard, pictures, start=0):
    """Show one picture every tenth of a second; decide ten times as often."""
    decisions = []
    for i, picture in enumerate(pictures, start):
        now = 10**9 + i * 10**8
        guard.observe("front", picture, now)
        guard.wait(2.0)
        decisions += [guard.decide({"speed": 20.0}, now + k * 10**7) for k in range(10)]
    return decisions


def test_arrays_that_were_altered_are_refused(tmp_path, known):
    _, _, raw, scores, y, card = known
    x = embedding.real(raw, card.embedding)
    fit = embedding.fit("nearest", x, y, embedding.real(scores, card.scores).max(1))
    more = CAMERA.format(isolation="none", feature="nearest", above=1.0)
    path = camera_policy(tmp_path, {("compact", "nearest"): fit}, more)
    config.load(path)
    data = bytearray((tmp_path / "calibration.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "calibration.npz").write_bytes(data)
    with pytest.raises(ConfigError, match=r"calibration\.npz: is not the file"):
        config.load(path)
    path = camera_policy(tmp_path, {("compact", "vim"): fit}, more)
    with pytest.raises(ConfigError, match="was not fitted"):
        config.load(path)
    short = {name: a[..., :40] if name != "points" else a for name, a in fit.items()}
    path = camera_policy(tmp_path, {("compact", "nearest"): short}, more)
    with pytest.raises(ConfigError, match="was not fitted to 96 values"):
        config.load(path)


def test_an_association_with_a_delay_still_speaks_when_decided_twice_as_often(tmp_path):
    late = WHEEL.replace('relation = "difference"', 'relation = "difference"\ndelay_ms = 2550')
    made = bench(tmp_path, late).nominal()
    for _ in range(600):
        if made.ticks % 6 == 0:
            made.say(certain("twenty"))
        made.tick(PERIOD_MS / 2)
    assert made.decision.mode.name == "NOMINAL"
    made.signals["speed"] = 25.0
    for _ in range(60):
        made.tick(PERIOD_MS / 2)
    assert "ASSOCIATION_BROKEN" in made.decision.causes


def test_a_risk_level_over_what_was_never_calibrated_is_refused(tmp_path):
    where = r"guard\.toml:\d+: detector\.risk\.kind: .*detector\.wheel\].*edgeguard calibrate"
    with pytest.raises(ConfigError, match=where):
        config.load(write_policy(tmp_path, POLICY + SIGNALS + WHEEL + RISK))
    blocks = {"blocks": np.arange(9)}
    for fits in ({("pedals", "risk"): blocks}, {("wheel", "risk"): {"blocks": np.arange(0)}}):
        with pytest.raises(ConfigError, match=where):
            config.load(calibrated(tmp_path, fits, POLICY + SIGNALS + WHEEL + RISK))


def test_a_stamp_of_numpy_gives_a_risk_level_too(tmp_path):
    made = bench(tmp_path, RISK).nominal()
    made.guard.event("bus_intrusion")
    made.guard.decide(made.signals, np.int64(made.now_ns + 10**7))
    assert made.guard.risk == 2
